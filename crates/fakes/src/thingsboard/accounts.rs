//! Who may do what: the system administrator, tenants and their people, API keys, and logins by somebody else's issuer.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::chains::{list, save};
use super::routes::{bad_request, error, not_found};
use super::{FakeThingsBoard, Tenant};

pub(super) fn router() -> Router<Arc<Tenant>> {
    Router::new()
        .route("/api/auth/user", get(ourselves))
        .route("/api/auth/changePassword", post(change_password))
        .route("/api/apiKey", post(create_key))
        .route(
            "/api/tenants",
            get(async |tenant, query| list("tenants", tenant, query)),
        )
        .route("/api/tenant", post(async |tenant, body| save("tenants", tenant, body)))
        .route(
            "/api/tenant/{id}/users",
            get(async |tenant, query| list("users", tenant, query)),
        )
        .route("/api/user", post(async |tenant, body| save("users", tenant, body)))
        .route("/api/user/{id}/activationLink", get(activation_link))
        .route(
            "/api/oauth2/client/infos",
            get(async |tenant, query| list("clients", tenant, query)),
        )
        .route(
            "/api/oauth2/client",
            post(async |tenant, body| save("clients", tenant, body)),
        )
        .route(
            "/api/domain/infos",
            get(async |tenant, query| list("domains", tenant, query)),
        )
        .route("/api/domain", post(save_domain))
}

/// Returns who holds a token; its text ends with the name.
pub(super) fn holder(headers: &HeaderMap) -> Option<String> {
    let header = headers.get("x-authorization")?.to_str().ok()?;
    let (_, credential) = header.split_once(' ')?;
    let name = credential
        .split_once('/')
        .map_or(FakeThingsBoard::USER, |(_, name)| name);
    Some(name.to_owned())
}

async fn ourselves(headers: HeaderMap) -> Response {
    let Some(email) = holder(&headers) else {
        return not_found();
    };
    let number = email
        .bytes()
        .fold(0_u64, |sum, byte| sum * 31 % 0xffff_ffff + u64::from(byte));
    let id = json!({ "entityType": "USER", "id": format!("584f394c-42b6-435a-983c-{number:012x}") });
    let authority = if email == FakeThingsBoard::SYSADMIN {
        "SYS_ADMIN"
    } else {
        "TENANT_ADMIN"
    };
    Json(json!({ "id": id, "email": email, "authority": authority })).into_response()
}

async fn change_password(State(tenant): State<Arc<Tenant>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut accounts = tenant.accounts();
    let password = holder(&headers).and_then(|email| accounts.get_mut(&email));
    match (password, body["newPassword"].as_str()) {
        (Some(password), Some(new)) if *password == body["currentPassword"] => {
            new.clone_into(password);
            Json(json!({})).into_response()
        }
        _ => bad_request("Current password doesn't match!"),
    }
}

async fn create_key(State(tenant): State<Arc<Tenant>>, Json(mut body): Json<Value>) -> Response {
    if body["userId"]["id"].is_null() {
        return bad_request("User id should be specified!");
    }
    let key = format!("tb_key-{}", tenant.number());
    tenant.tokens().push(key.clone());
    body["value"] = json!(key);
    Json(body).into_response()
}

/// Someone who has a password has no link any more.
async fn activation_link(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Response {
    let kept = tenant.kept();
    let mut people = kept.iter().filter(|((list, _), _)| *list == "users");
    let Some(((_, email), _)) = people.find(|(_, user)| user["id"]["id"] == id) else {
        return not_found();
    };
    if tenant.accounts().contains_key(email) {
        return bad_request("User is already activated!");
    }
    format!("http://things.example/api/noauth/activate?activateToken=activate-{email}").into_response()
}

pub(super) async fn activate(State(tenant): State<Arc<Tenant>>, Json(body): Json<Value>) -> Response {
    let email = body["activateToken"]
        .as_str()
        .and_then(|token| token.strip_prefix("activate-"));
    let (Some(email), Some(password)) = (email, body["password"].as_str()) else {
        return error(StatusCode::BAD_REQUEST, "Invalid activation token", 31);
    };
    tenant.accounts().insert(email.to_owned(), password.to_owned());
    Json(json!({ "token": "…", "refreshToken": "…" })).into_response()
}

async fn save_domain(
    State(tenant): State<Arc<Tenant>>,
    Query(query): Query<HashMap<String, String>>,
    Json(mut body): Json<Value>,
) -> Response {
    body["oauth2ClientIds"] = json!(query.get("oauth2ClientIds"));
    save("domains", State(tenant), Json(body))
}
