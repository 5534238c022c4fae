//! From which pages, and under which names, the service may be used.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use common::chassis::problem::Problem;
use http::HeaderMap;
use http::header::{HOST, ORIGIN};

use super::problem;
use crate::origin::WebOrigin;

/// The rules.
#[derive(Debug)]
pub(crate) struct Doors {
    /// The origins of pages that may open terminals.
    pub(crate) origins: Vec<WebOrigin>,
    /// What `Host` may say, in lower case; none for anything.
    pub(crate) hosts: Option<Vec<String>>,
    /// Whether an access token may come in the query.
    pub(crate) allow_query_token: bool,
    /// Whether sessions can be resumed.
    pub(crate) allow_resume: bool,
}

impl Doors {
    /// Returns the origin of the page that asks, if it is one of ours; none when no page asks.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Result<Option<String>, Problem> {
        let mut values = headers.get_all(ORIGIN).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Problem::bad_request().with_detail("The request names more than one origin."));
        }
        let text = value.to_str().map_err(|_not_ascii| problem::origin_not_allowed())?;
        if self.origins.iter().any(|origin| origin.is(text)) {
            Ok(Some(text.to_owned()))
        } else {
            Err(problem::origin_not_allowed())
        }
    }

    /// A page elsewhere can point a name of its own at our address (DNS rebinding); then `Host` is that name.
    pub(super) fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(hosts) = &self.hosts else {
            return Ok(());
        };
        let host = headers
            .get(HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default();
        if hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            Ok(())
        } else {
            Err(problem::misdirected_request())
        }
    }
}

/// Lets requests in that are for a name of ours.
pub(super) async fn check_host(
    State(doors): State<Arc<Doors>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    doors.check_host(request.headers())?;
    Ok(next.run(request).await)
}
