//! The routes. Their paths are Keycloak's.

mod authorize;
mod discovery;
mod logout;
mod page;
mod parameters;
mod token;
mod userinfo;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    CACHE_CONTROL, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::issuer::Issuer;

/// The largest form that is read, in bytes.
const MAX_FORM_LENGTH: usize = 16 * 1024;

pub(crate) fn router(issuer: &Arc<Issuer>) -> Router {
    let for_scripts = Router::new()
        .route("/.well-known/openid-configuration", get(discovery::document))
        .route("/protocol/openid-connect/certs", get(discovery::jwks))
        .route("/protocol/openid-connect/token", post(token::issue))
        .route("/protocol/openid-connect/userinfo", get(userinfo::describe))
        .route(
            "/protocol/openid-connect/logout",
            get(logout::by_link).post(logout::by_form),
        )
        .layer(from_fn_with_state(Arc::clone(issuer), cross_origin));
    let for_people = Router::new().route(
        "/protocol/openid-connect/auth",
        get(authorize::show_login).post(authorize::log_in),
    );
    let realm = for_scripts
        .merge(for_people)
        .layer(DefaultBodyLimit::max(MAX_FORM_LENGTH))
        .layer(from_fn(never_stored))
        .with_state(Arc::clone(issuer));
    Router::new().nest(issuer.url().path(), realm)
}

/// Answers carry tokens, codes or keys that may be gone the next minute (RFC 6749 §5.1).
async fn never_stored(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Lets the pages of the clients' web origins, and no others, read the answers (the Fetch standard's CORS).
async fn cross_origin(State(issuer): State<Arc<Issuer>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let is_preflight = request.method() == Method::OPTIONS;
    let known = origin.filter(|origin| origin.to_str().is_ok_and(|origin| issuer.knows_web_origin(origin)));
    let mut response = match (&known, is_preflight) {
        (Some(_), true) => (StatusCode::NO_CONTENT, preflight_headers()).into_response(),
        (Some(_) | None, _) => next.run(request).await,
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = known {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

fn preflight_headers() -> HeaderMap {
    HeaderMap::from_iter([
        (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST")),
        (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type")),
        (ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ])
}
