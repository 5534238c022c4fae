//! `POST /devices/{id}/enroll`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use common::chassis::json::StrictJson;
use common::chassis::path::PathDeviceId;
use common::chassis::problem::Problem;
use common::domain::{AdmitError, DeviceId, WireguardKey, WireguardPrivateKey, rfc3339};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use wireguard::quick::{HubEndpoint, Ip6Pair, WgQuickConfig};
use wireguard::{KEEPALIVE_SECONDS, MTU};

use super::auth::EnrollmentToken;
use super::certificate::{self, CertificateFields};
use super::problem;
use super::state::AppState;
use crate::app::Place;
use crate::app::enrollment::{EnrollError, Enrolled, Enrollment, EnrollmentRequest, InvalidLabel, Labels, Outcome};

/// Longest name or type of a device, in characters.
const MAX_LABEL_LENGTH: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrollRequest {
    csr: String,
    #[serde(default)]
    device_name: Option<String>,
    #[serde(default)]
    device_type: Option<String>,
    #[serde(default)]
    wg_public_key: Option<String>,
}

#[derive(Serialize)]
struct EnrollResponse {
    device_id: DeviceId,
    #[serde(flatten)]
    certificate: CertificateFields,
    wireguard_ip: std::net::Ipv4Addr,
    wireguard_config: String,
    server_time: String,
}

pub(super) async fn enroll(
    token: EnrollmentToken,
    State(state): State<AppState>,
    State(enrollment): State<Arc<Enrollment>>,
    PathDeviceId(id): PathDeviceId,
    request: Result<StrictJson<EnrollRequest>, Problem>,
) -> Result<Response, Problem> {
    // Nobody's wishes are looked at before it is clear who speaks.
    let applicant = match enrollment.authenticate(&id, token.digest).await {
        Ok(applicant) => applicant,
        Err(error) => return Err(refused_token(&state, &token, Some(&id), error).await),
    };
    let request = enrollment.receive(&applicant, request).await;
    let StrictJson(request) = request.map_err(problem::store)??;
    let outcome = enrollment
        .enroll(&applicant, request.into())
        .await
        .map_err(problem::enroll)?;
    Ok(match outcome {
        Outcome::Enrolled(enrolled) => answer(*enrolled, state.hub_endpoint()),
        Outcome::Waiting { system, retry_after } => certificate::waiting(id, system, retry_after),
    })
}

/// Returns the answer to whoever brought a token that is not good, or not for this device. It counts as a guess, and is
/// recorded unless there were too many.
pub(super) async fn refused_token(
    state: &AppState,
    token: &EnrollmentToken,
    id: Option<&DeviceId>,
    error: AdmitError,
) -> Problem {
    let is_guess = matches!(error, AdmitError::InvalidToken | AdmitError::DeviceMismatch);
    if is_guess && let Err(too_many) = state.count_failure(token.client) {
        return too_many;
    }
    let recorded = state.enrollment().record_refused_token(id, token.digest, &error).await;
    problem::enroll(recorded.err().map_or_else(|| error.into(), EnrollError::from))
}

impl From<EnrollRequest> for EnrollmentRequest {
    fn from(request: EnrollRequest) -> Self {
        let EnrollRequest {
            csr,
            device_name,
            device_type,
            wg_public_key,
        } = request;
        Self {
            csr,
            wireguard_key: wg_public_key.as_deref().map(WireguardKey::parse).transpose(),
            labels: labels(device_type, device_name),
        }
    }
}

fn labels(device_type: Option<String>, device_name: Option<String>) -> Result<Labels, InvalidLabel> {
    Ok(Labels {
        device_type: label("device_type", device_type)?,
        display_name: label("device_name", device_name)?,
    })
}

/// A text that people will see in lists: short, not empty, without anything that moves the cursor.
pub(super) fn label(field: &'static str, text: Option<String>) -> Result<Option<String>, InvalidLabel> {
    let Some(text) = text else { return Ok(None) };
    let is_plain = text
        .chars()
        .all(|character| character == ' ' || character.is_alphanumeric() || is_mark(character));
    let length = text.chars().count();
    if is_plain && (1..=MAX_LABEL_LENGTH).contains(&length) && text.trim() == text {
        Ok(Some(text))
    } else {
        Err(InvalidLabel(field))
    }
}

fn is_mark(character: char) -> bool {
    character.is_ascii_punctuation() && !matches!(character, '<' | '>' | '"' | '`' | '\\')
}

fn answer(enrolled: Enrolled, hub_endpoint: HubEndpoint) -> Response {
    let status = if enrolled.repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let place = enrolled.place;
    let body = EnrollResponse {
        device_id: enrolled.device_id,
        certificate: CertificateFields::of(enrolled.certificate),
        wireguard_ip: place.address.ip(),
        wireguard_config: tunnel_config(place, enrolled.private_key, hub_endpoint),
        server_time: rfc3339(enrolled.server_time),
    };
    (status, Json(body)).into_response()
}

/// Writes a device's wg-quick file.
pub(super) fn tunnel_config(
    place: Place,
    private_key: Option<WireguardPrivateKey>,
    hub_endpoint: HubEndpoint,
) -> String {
    let config = WgQuickConfig {
        private_key,
        address: place.address.ip(),
        mtu: MTU,
        hub_key: place.hub_key,
        hub_endpoint,
        hub_address: place.hub_address,
        keepalive_seconds: KEEPALIVE_SECONDS,
        ip6: place
            .address
            .ip6()
            .zip(place.hub_ip6)
            .map(|(device, hub)| Ip6Pair { device, hub }),
    };
    config.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_and_plain() {
        let label = |text: &str| label("device_name", Some(text.to_owned()));
        for good in ["Pump 7", "Pumpe Süd (3)", "7", "a/b"] {
            assert!(label(good).is_ok(), "{good}");
        }
        let too_long = "x".repeat(65);
        for bad in [
            "",
            " ",
            " a",
            "a\nb",
            "\u{202e}abc",
            "a\u{200b}b",
            "\u{1b}[2J",
            "<script>",
            &too_long,
        ] {
            assert!(label(bad).is_err(), "{bad:?}");
        }
    }
}
