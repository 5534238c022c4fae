//! What anyone may know of the certificate authority. None of it is a source of trust: that came with the device.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use common::chassis::problem::Problem;
use http::header::CONTENT_TYPE;

use super::problem;
use crate::app::Authority;

pub(super) async fn roots(State(authority): State<Arc<Authority>>) -> Result<Response, Problem> {
    let pem = authority.roots().await.map_err(|error| problem::upstream(&error))?;
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], pem).into_response())
}

/// DER, as RFC 5280 §4.2.1.13 wants it from a distribution point.
pub(super) async fn crl(State(authority): State<Arc<Authority>>) -> Result<Response, Problem> {
    let crl = authority.crl().await.map_err(|error| problem::upstream(&error))?;
    let der = crl.ok_or_else(Problem::not_found)?;
    Ok(([(CONTENT_TYPE, "application/pkix-crl")], der).into_response())
}
