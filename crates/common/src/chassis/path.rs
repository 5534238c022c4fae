//! Parameters in the path of a request.

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use super::problem::Problem;
use crate::domain::DeviceId;

/// The name that the parameter has in every route: `/devices/{id}/…`.
const PARAMETER: &str = "id";

/// Query parameters that would name a device a second time.
const SYNONYMS: [&str; 2] = ["deviceId", "device_id"];

/// The device id in the path, from the parameter `{id}`: decoded exactly once, then parsed. Anything else
/// is 400, and so is a query that names a device as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathDeviceId(pub DeviceId);

impl<S: Send + Sync> FromRequestParts<S> for PathDeviceId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if names_a_device(parts.uri.query().unwrap_or_default()) {
            return Err(Problem::ambiguous_parameter());
        }
        // The router has undone the percent-encoding once and refuses what is then not UTF-8.
        let parameters = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_rejection| Problem::invalid_device_id())?;
        let text = parameters
            .iter()
            .find_map(|(name, value)| (name == PARAMETER).then_some(value));
        let id = text.and_then(|text| DeviceId::parse(text).ok());
        id.map(Self).ok_or_else(Problem::invalid_device_id)
    }
}

fn names_a_device(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _value)| SYNONYMS.contains(&name.as_ref()))
}
