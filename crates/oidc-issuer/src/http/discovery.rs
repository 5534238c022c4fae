use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jsonwebtoken::jwk::JwkSet;
use serde_json::{Value, json};

use crate::issuer::Issuer;

/// The scopes that a client may ask for; others are passed over.
pub(super) const SCOPES: [&str; 2] = ["openid", "profile"];

/// Says what the issuer offers and where (OpenID Connect Discovery §3).
pub(super) async fn document(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let base = issuer.url().as_str();
    let endpoint = |name: &str| format!("{base}/protocol/openid-connect/{name}");
    Json(json!({
        "issuer": base,
        "authorization_endpoint": endpoint("auth"),
        "token_endpoint": endpoint("token"),
        "userinfo_endpoint": endpoint("userinfo"),
        "jwks_uri": endpoint("certs"),
        "end_session_endpoint": endpoint("logout"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": SCOPES,
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "preferred_username"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

/// Hands out the public keys (RFC 7517 §5).
pub(super) async fn jwks(State(issuer): State<Arc<Issuer>>) -> Json<JwkSet> {
    Json(issuer.jwks())
}
