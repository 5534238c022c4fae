use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::parameters::{Form, Parameters, Repeated};
use crate::config::ClientConfig;
use crate::issuer::Issuer;
use crate::ledger::Redemption;
use crate::tokens::TokenAnswer;

/// Hands out tokens for a code or a refresh token (RFC 6749 §3.2).
pub(super) async fn issue(
    State(issuer): State<Arc<Issuer>>,
    headers: HeaderMap,
    Form(form): Form,
) -> Result<Json<TokenAnswer>, TokenRefusal> {
    let form = form.map_err(|Repeated| TokenRefusal::InvalidRequest)?;
    let client = form
        .get("client_id")
        .and_then(|id| issuer.client(id))
        .ok_or(TokenRefusal::InvalidClient)?;
    if comes_from_a_foreign_page(&headers, client) {
        return Err(TokenRefusal::InvalidClient);
    }
    let answer = match form.get("grant_type") {
        Some("authorization_code") => issuer.redeem(&redemption(&form, client)?),
        Some("refresh_token") => {
            let refresh_token = form.get("refresh_token").ok_or(TokenRefusal::InvalidRequest)?;
            issuer.refresh(refresh_token, &client.client_id)
        }
        Some(_) => return Err(TokenRefusal::UnsupportedGrantType),
        None => return Err(TokenRefusal::InvalidRequest),
    };
    answer.map(Json).ok_or(TokenRefusal::InvalidGrant)
}

/// Why there are no tokens (RFC 6749 §5.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum TokenRefusal {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnsupportedGrantType,
}

impl IntoResponse for TokenRefusal {
    fn into_response(self) -> Response {
        let error = match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
        };
        (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response()
    }
}

fn redemption<'request>(
    form: &'request Parameters,
    client: &'request ClientConfig,
) -> Result<Redemption<'request>, TokenRefusal> {
    let required = |name| form.get(name).ok_or(TokenRefusal::InvalidRequest);
    Ok(Redemption {
        code: required("code")?,
        client_id: &client.client_id,
        redirect_uri: required("redirect_uri")?,
        verifier: required("code_verifier")?,
    })
}

/// A browser names the page that asks; only the client's own pages get its tokens.
fn comes_from_a_foreign_page(headers: &HeaderMap, client: &ClientConfig) -> bool {
    let is_own = |origin: &str| client.has_web_origin(origin);
    headers
        .get(ORIGIN)
        .is_some_and(|origin| !origin.to_str().is_ok_and(is_own))
}
