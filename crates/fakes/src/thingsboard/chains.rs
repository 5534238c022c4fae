use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Tenant;
use super::routes::not_found;

type Parameters = Query<HashMap<String, String>>;

pub(super) fn router() -> Router<Arc<Tenant>> {
    Router::new()
        .route(
            "/api/ruleChains",
            get(async |tenant, query| list("ruleChains", tenant, query)),
        )
        .route(
            "/api/deviceProfiles",
            get(async |tenant, query| list("deviceProfiles", tenant, query)),
        )
        .route(
            "/api/ruleChain",
            post(async |tenant, body| save("ruleChains", tenant, body)),
        )
        .route(
            "/api/deviceProfile",
            post(async |tenant, body| save("deviceProfiles", tenant, body)),
        )
        .route("/api/ruleChain/metadata", post(save_metadata))
        .route(
            "/api/widgetsBundles",
            get(async |tenant, query| list("widgetsBundles", tenant, query)),
        )
        .route(
            "/api/widgetsBundle",
            post(async |tenant, body| save("widgetsBundles", tenant, body)),
        )
        .route("/api/widgetsBundle/{id}/widgetTypeFqns", post(async || StatusCode::OK))
        .route("/api/widgetType", post(save_widget))
        .route(
            "/api/tenant/dashboards",
            get(async |tenant, query| list("dashboards", tenant, query)),
        )
        .route(
            "/api/dashboard",
            post(async |tenant, body| save("dashboards", tenant, body)),
        )
        .route(
            "/api/customers",
            get(async |tenant, query| list("customers", tenant, query)),
        )
        .route(
            "/api/customer",
            post(async |tenant, body| save("customers", tenant, body)),
        )
        .route("/api/customer/{id}/dashboard/{dashboard}", post(assign))
        .merge(notifications())
}

fn notifications() -> Router<Arc<Tenant>> {
    Router::new()
        .route(
            "/api/notification/targets",
            get(async |tenant, query| list("targets", tenant, query)),
        )
        .route(
            "/api/notification/target",
            post(async |tenant, body| save("targets", tenant, body)),
        )
        .route(
            "/api/notification/templates",
            get(async |tenant, query| list("templates", tenant, query)),
        )
        .route(
            "/api/notification/template",
            post(async |tenant, body| save("templates", tenant, body)),
        )
        .route(
            "/api/notification/rules",
            get(async |tenant, query| list("rules", tenant, query)),
        )
        .route(
            "/api/notification/rule",
            post(async |tenant, body| save("rules", tenant, body)),
        )
}

/// A dashboard shows which customers may see it.
async fn assign(State(tenant): State<Arc<Tenant>>, Path((customer, dashboard)): Path<(String, String)>) -> Response {
    let mut kept = tenant.kept();
    let with_id = |(list, id): (&str, &str), ((kind, _), value): &(&(&str, String), &Value)| {
        *kind == list && value["id"]["id"] == id
    };
    let Some(owner) = kept.iter().find(|it| with_id(("customers", &customer), it)) else {
        return not_found();
    };
    let owner = json!({ "customerId": owner.1["id"], "title": owner.1["title"] });
    let Some(key) = kept
        .iter()
        .find(|it| with_id(("dashboards", &dashboard), it))
        .map(|(key, _)| key.clone())
    else {
        return not_found();
    };
    let dashboard = kept.get_mut(&key).expect("it was found");
    dashboard["assignedCustomers"] = json!([owner]);
    Json(dashboard.clone()).into_response()
}

/// A page of those whose name contains the text, in any case.
pub(super) fn list(list: &'static str, State(tenant): State<Arc<Tenant>>, Query(query): Parameters) -> Response {
    if !query.contains_key("pageSize") || !query.contains_key("page") {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let text = query
        .get("textSearch")
        .map(|text| text.to_lowercase())
        .unwrap_or_default();
    let kept = tenant.kept();
    let fitting = kept
        .iter()
        .filter(|((kind, name), _)| *kind == list && name.to_lowercase().contains(&text));
    let data: Vec<_> = fitting.map(|(_, value)| value.clone()).collect();
    let total = data.len();
    Json(json!({ "data": data, "totalPages": 1, "totalElements": total, "hasNext": false })).into_response()
}

/// One without an id is new; another of the same name is a conflict of names.
pub(super) fn save(list: &'static str, State(tenant): State<Arc<Tenant>>, Json(mut body): Json<Value>) -> Response {
    let name = ["name", "title", "email"].iter().find_map(|key| body[*key].as_str());
    let name = name.unwrap_or_default().to_owned();
    let mut kept = tenant.kept();
    let present = kept.get(&(list, name.clone()));
    if body["id"].is_null() {
        if present.is_some() && list == "deviceProfiles" {
            let body =
                json!({ "status": 400, "message": "Device profile with such name already exists!", "errorCode": 31 });
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
        body["id"] = json!({ "entityType": entity_type(list), "id": format!("684f394c-42b6-435a-983c-{:012x}", tenant.number()) });
    } else if present.is_none_or(|present| present["id"] != body["id"]) {
        return StatusCode::NOT_FOUND.into_response();
    }
    if let Some(metadata) = present.and_then(|present| present.get("metadata")) {
        body["metadata"] = metadata.clone();
    }
    kept.insert((list, name), body.clone());
    Json(body).into_response()
}

fn entity_type(list: &str) -> &'static str {
    match list {
        "ruleChains" => "RULE_CHAIN",
        "deviceProfiles" => "DEVICE_PROFILE",
        "widgetTypes" => "WIDGET_TYPE",
        "widgetsBundles" => "WIDGETS_BUNDLE",
        "dashboards" => "DASHBOARD",
        "tenants" => "TENANT",
        "users" => "USER",
        "clients" => "OAUTH2_CLIENT",
        "customers" => "CUSTOMER",
        "targets" => "NOTIFICATION_TARGET",
        "templates" => "NOTIFICATION_TEMPLATE",
        "rules" => "NOTIFICATION_RULE",
        _ => "DOMAIN",
    }
}

/// A widget is known by its name for machines; with `updateExistingByFqn` it takes the place of the one before.
async fn save_widget(
    State(tenant): State<Arc<Tenant>>,
    Query(query): Parameters,
    Json(mut body): Json<Value>,
) -> Response {
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    let present = tenant
        .kept()
        .get(&("widgetTypes", name))
        .map(|present| present["id"].clone());
    if query.get("updateExistingByFqn").is_some_and(|update| update == "true")
        && let Some(id) = present
    {
        body["id"] = id;
    }
    save("widgetTypes", State(tenant), Json(body))
}

/// The nodes that are not in it are deleted.
async fn save_metadata(State(tenant): State<Arc<Tenant>>, Json(body): Json<Value>) -> Response {
    let mut kept = tenant.kept();
    let mut chains = kept.iter_mut().filter(|((list, _), _)| *list == "ruleChains");
    let Some((_, chain)) = chains.find(|(_, chain)| chain["id"] == body["ruleChainId"]) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    chain["metadata"] = body.clone();
    Json(body).into_response()
}
