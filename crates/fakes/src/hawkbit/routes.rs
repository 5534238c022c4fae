use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{FakeAction, FakeHawkbit, FakeTarget, Tenant};

type Parameters = Query<HashMap<String, String>>;

pub(super) fn router(tenant: Arc<Tenant>) -> Router {
    Router::new()
        .route("/rest/v1/targets", get(targets).post(create_targets))
        .route(
            "/rest/v1/targets/{id}",
            get(target).put(change_target).delete(delete_target),
        )
        .route("/rest/v1/targets/{id}/metadata", get(metadata).post(create_metadata))
        .route(
            "/rest/v1/targets/{id}/metadata/{key}",
            put(change_metadata).delete(delete_metadata),
        )
        .route("/rest/v1/targets/{id}/targettype", post(assign_type))
        .route("/rest/v1/targettypes", get(types).post(create_types))
        .route("/rest/v1/actions", get(actions))
        .route("/rest/v1/system/configs", put(configure))
        .layer(from_fn(only_the_bridge))
        .with_state(tenant)
}

async fn only_the_bridge(request: Request, next: Next) -> Response {
    let known = STANDARD.encode(format!("{}:{}", FakeHawkbit::USER, FakeHawkbit::PASSWORD));
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if header == Some(&format!("Basic {known}")) {
        next.run(request).await
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

fn error(status: StatusCode, code: &str) -> Response {
    let body = json!({ "exceptionClass": "…", "errorCode": format!("hawkbit.server.error.{code}"), "message": "…" });
    (status, Json(body)).into_response()
}

fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "repo.entitiyNotFound") // sic
}

fn exists() -> Response {
    error(StatusCode::CONFLICT, "repo.entityAlreadyExists")
}

fn page(all: Vec<Value>, query: &Parameters) -> Response {
    let total = all.len();
    page_of(all.into_iter(), total, query)
}

fn page_of(all: impl Iterator<Item = Value>, total: usize, Query(query): &Parameters) -> Response {
    let number = |key: &str, otherwise| query.get(key).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (offset, limit): (usize, usize) = (number("offset", 0), number("limit", 50).min(500));
    let content: Vec<_> = all.skip(offset).take(limit).collect();
    Json(json!({ "size": content.len(), "content": content, "total": total })).into_response()
}

fn target_body(id: &str, target: &FakeTarget, types: &std::collections::BTreeMap<String, i64>) -> Value {
    let kind = types.iter().find(|(_, number)| Some(**number) == target.type_id);
    json!({
        "controllerId": id, "name": target.name, "group": target.group, "securityToken": target.security_token,
        "targetType": target.type_id, "targetTypeName": kind.map(|(key, _)| key), "updateStatus": "unknown",
        "_links": { "self": { "href": format!("http://hawkbit.example/rest/v1/targets/{id}") } },
    })
}

async fn targets(State(tenant): State<Arc<Tenant>>, query: Parameters) -> Response {
    let state = tenant.state();
    let total = state.targets.len();
    let all = state
        .targets
        .iter()
        .map(|(id, target)| target_body(id, target, &state.types));
    page_of(all, total, &query)
}

async fn create_targets(State(tenant): State<Arc<Tenant>>, Json(list): Json<Vec<Value>>) -> Response {
    let mut state = tenant.state();
    let ids: Vec<_> = list
        .iter()
        .filter_map(|target| target["controllerId"].as_str())
        .collect();
    if ids.len() != list.len() {
        return error(StatusCode::BAD_REQUEST, "repo.constraintViolation");
    }
    if ids.iter().any(|id| state.targets.contains_key(*id)) {
        return exists();
    }
    let mut made = Vec::new();
    for (id, wanted) in ids.iter().zip(&list) {
        let number = state.number();
        let target = FakeTarget {
            name: wanted["name"].as_str().unwrap_or(id).to_owned(),
            group: wanted["group"].as_str().map(str::to_owned),
            security_token: format!("{number:032x}"),
            ..FakeTarget::default()
        };
        made.push(target_body(id, &target, &state.types));
        state.targets.insert((*id).to_owned(), target);
    }
    (StatusCode::CREATED, Json(made)).into_response()
}

async fn target(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Response {
    let state = tenant.state();
    let found = state.targets.get(&id);
    found.map_or_else(not_found, |target| {
        Json(target_body(&id, target, &state.types)).into_response()
    })
}

async fn change_target(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut state = tenant.state();
    let Some(target) = state.targets.get_mut(&id) else {
        return not_found();
    };
    if let Some(name) = body["name"].as_str() {
        name.clone_into(&mut target.name);
    }
    if let Some(group) = body["group"].as_str() {
        target.group = Some(group.to_owned());
    }
    if let Some(token) = body["securityToken"].as_str() {
        token.clone_into(&mut target.security_token);
    }
    StatusCode::OK.into_response()
}

async fn delete_target(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>) -> Response {
    let mut state = tenant.state();
    state.actions.retain(|_, action| action.controller_id != id);
    state
        .targets
        .remove(&id)
        .map_or_else(not_found, |_| StatusCode::OK.into_response())
}

async fn metadata(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>, query: Parameters) -> Response {
    let state = tenant.state();
    let Some(target) = state.targets.get(&id) else {
        return not_found();
    };
    let all = target.metadata.iter();
    page(
        all.map(|(key, value)| json!({ "key": key, "value": value })).collect(),
        &query,
    )
}

async fn create_metadata(
    State(tenant): State<Arc<Tenant>>,
    Path(id): Path<String>,
    Json(list): Json<Vec<HashMap<String, String>>>,
) -> Response {
    let mut state = tenant.state();
    let Some(target) = state.targets.get_mut(&id) else {
        return not_found();
    };
    if list.iter().any(|entry| target.metadata.contains_key(&entry["key"])) {
        return exists();
    }
    for entry in &list {
        target.metadata.insert(entry["key"].clone(), entry["value"].clone());
    }
    (StatusCode::CREATED, Json(list)).into_response()
}

async fn change_metadata(
    State(tenant): State<Arc<Tenant>>,
    Path((id, key)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    let mut state = tenant.state();
    let entry = state
        .targets
        .get_mut(&id)
        .and_then(|target| target.metadata.get_mut(&key));
    let (Some(entry), Some(value)) = (entry, body["value"].as_str()) else {
        return not_found();
    };
    value.clone_into(entry);
    StatusCode::OK.into_response()
}

async fn delete_metadata(State(tenant): State<Arc<Tenant>>, Path((id, key)): Path<(String, String)>) -> Response {
    let mut state = tenant.state();
    let removed = state
        .targets
        .get_mut(&id)
        .and_then(|target| target.metadata.remove(&key));
    removed.map_or_else(not_found, |_| StatusCode::OK.into_response())
}

async fn types(State(tenant): State<Arc<Tenant>>, query: Parameters) -> Response {
    let wanted = query
        .0
        .get("q")
        .and_then(|filter| filter.strip_prefix("key=="))
        .map(str::to_owned);
    let state = tenant.state();
    let fitting = state
        .types
        .iter()
        .filter(|(key, _)| wanted.as_ref().is_none_or(|wanted| wanted == *key));
    page(
        fitting
            .map(|(key, id)| json!({ "id": id, "key": key, "name": key }))
            .collect(),
        &query,
    )
}

async fn create_types(State(tenant): State<Arc<Tenant>>, Json(list): Json<Vec<Value>>) -> Response {
    let mut state = tenant.state();
    for wanted in &list {
        let key = wanted["key"].as_str().unwrap_or_default().to_owned();
        if state.types.contains_key(&key) {
            return exists();
        }
        let number = state.number();
        state.types.insert(key, number);
    }
    StatusCode::CREATED.into_response()
}

async fn assign_type(State(tenant): State<Arc<Tenant>>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut state = tenant.state();
    let number = body["id"].as_i64();
    if !state.types.values().any(|known| Some(*known) == number) {
        return not_found();
    }
    let Some(target) = state.targets.get_mut(&id) else {
        return not_found();
    };
    target.type_id = number;
    StatusCode::OK.into_response()
}

async fn configure(State(tenant): State<Arc<Tenant>>, Json(body): Json<serde_json::Map<String, Value>>) -> StatusCode {
    tenant.state().settings.extend(body);
    StatusCode::NO_CONTENT
}

/// Understands the one filter and the one order that the bridge asks for.
async fn actions(State(tenant): State<Arc<Tenant>>, query: Parameters) -> Response {
    let since = query
        .0
        .get("q")
        .and_then(|filter| filter.strip_prefix("lastModifiedAt=ge="));
    let Some(since) = since.and_then(|text| text.parse::<i64>().ok()) else {
        return error(StatusCode::BAD_REQUEST, "rest.param.rsqlParamSyntax");
    };
    let state = tenant.state();
    let mut fitting: Vec<_> = state
        .actions
        .iter()
        .filter(|(_, action)| action.modified_at >= since)
        .collect();
    fitting.sort_by_key(|(id, action)| (action.modified_at, **id));
    page(
        fitting
            .into_iter()
            .map(|(id, action)| action_body(*id, action))
            .collect(),
        &query,
    )
}

fn action_body(id: i64, action: &FakeAction) -> Value {
    let target = format!("http://hawkbit.example/rest/v1/targets/{}", action.controller_id);
    json!({
        "id": id, "type": "update", "status": action.status, "forceType": "forced", "createdAt": action.modified_at,
        "active": !matches!(action.status.as_str(), "finished" | "error" | "canceled"),
        "lastModifiedAt": action.modified_at,
        "_links": {
            "self": { "href": format!("{target}/actions/{id}") },
            "target": { "href": target, "name": action.controller_id },
            "distributionset": { "href": "http://hawkbit.example/rest/v1/distributionsets/3", "name": "firmware:2.1" },
        },
    })
}
