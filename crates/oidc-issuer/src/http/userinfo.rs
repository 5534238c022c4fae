use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::issuer::Issuer;

/// Says who the holder of an access token is now (OpenID Connect Core §5.3): what was changed since the token was made
/// shows here.
pub(super) async fn describe(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Result<Json<Value>, Response> {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let person = token.and_then(|token| issuer.person_of(token));
    person.map(Json).ok_or_else(|| {
        // RFC 6750 §3.1
        let challenge = [(WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#)];
        (StatusCode::UNAUTHORIZED, challenge).into_response()
    })
}
