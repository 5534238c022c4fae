//! Between the bridge and hawkBit 0.3.0M7: what 1.1 has beyond it, made of what it answers. Everything else passes.
//!
//! Added are groups and types of targets (kept here, as nothing else depends on them), settings in one request, and
//! the list of all actions with the step that each has come to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use common::chassis::metrics::HttpMetrics;
use common::chassis::server::{self, Options};
use common::chassis::shutdown::Shutdown;
use fakes::mischief::{Mischief, misbehave};
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};
use url::Url;

use super::Genuine;
use crate::failure::Failure;

/// Targets or actions on a page of the genuine server.
const PAGE: usize = 500;

#[derive(Clone)]
struct Front {
    genuine: Genuine,
    beyond: Arc<Mutex<Beyond>>,
}

/// What the genuine server does not keep.
#[derive(Default)]
struct Beyond {
    groups: HashMap<String, Value>,
    types: Vec<String>,
    type_of: HashMap<String, usize>,
}

pub(super) async fn start(genuine: Genuine, mischief: Arc<Mischief>, shutdown: &Shutdown) -> Result<Url, Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?).parse()?;
    let front = Front {
        genuine,
        beyond: Arc::default(),
    };
    let router = Router::new()
        .route("/rest/v1/actions", get(actions))
        .route("/rest/v1/system/configs", put(configure))
        .route("/rest/v1/targettypes", get(types).post(create_types))
        .route("/rest/v1/targets", get(pass).post(create_targets))
        .route("/rest/v1/targets/{id}", get(target).put(change_target).delete(pass))
        .route("/rest/v1/targets/{id}/targettype", post(assign_type))
        .fallback(pass)
        .layer(from_fn_with_state(mischief, misbehave))
        .with_state(front);
    let metrics = HttpMetrics::register(&mut Registry::default(), "hawkbit-front", "");
    server::serve(listener, router, Options::new(&metrics), shutdown);
    Ok(url)
}

impl Front {
    fn beyond(&self) -> MutexGuard<'_, Beyond> {
        self.beyond.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Passes a request on as it is.
    async fn forward(&self, method: Method, uri: &Uri, headers: &HeaderMap, body: Bytes) -> (StatusCode, Bytes) {
        let path = uri.path_and_query().map_or("/", |it| it.as_str());
        let Ok(url) = self.genuine.url.join(path) else {
            return (StatusCode::BAD_REQUEST, Bytes::new());
        };
        let mut request = self.genuine.http.request(method, url).body(body);
        for name in ["authorization", "content-type", "accept"] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = async {
            let answer = request.send().await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
        };
        answer.await.unwrap_or((StatusCode::BAD_GATEWAY, Bytes::new()))
    }
}

async fn pass(State(front): State<Front>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    answer(front.forward(method, &uri, &headers, body).await)
}

async fn create_targets(State(front): State<Front>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let passed = front.forward(Method::POST, &uri, &headers, body.clone()).await;
    if passed.0.is_success() {
        let wanted: Vec<Value> = serde_json::from_slice(&body).unwrap_or_default();
        for target in wanted {
            let id = target["controllerId"].as_str().unwrap_or_default().to_owned();
            front.beyond().groups.insert(id, target["group"].clone());
        }
    }
    answer(passed)
}

async fn change_target(
    State(front): State<Front>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let passed = front.forward(Method::PUT, &uri, &headers, body.clone()).await;
    let wanted: Value = serde_json::from_slice(&body).unwrap_or_default();
    if passed.0.is_success() && !wanted["group"].is_null() {
        front.beyond().groups.insert(id, wanted["group"].clone());
    }
    answer(passed)
}

async fn target(State(front): State<Front>, Path(id): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    let (status, body) = front.forward(Method::GET, &uri, &headers, Bytes::new()).await;
    let Ok(mut target) = serde_json::from_slice::<Value>(&body) else {
        return answer((status, body));
    };
    if status.is_success() {
        let beyond = front.beyond();
        target["group"] = beyond.groups.get(&id).cloned().unwrap_or_default();
        let number = beyond.type_of.get(&id);
        target["targetType"] = json!(number);
        target["targetTypeName"] = json!(number.and_then(|number| beyond.types.get(*number)));
    }
    (status, Json(target)).into_response()
}

async fn types(State(front): State<Front>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let wanted = query
        .get("q")
        .and_then(|filter| filter.strip_prefix("key=="))
        .unwrap_or_default();
    let beyond = front.beyond();
    let found = beyond.types.iter().enumerate().filter(|(_, key)| *key == wanted);
    let content: Vec<_> = found.map(|(number, key)| json!({ "id": number, "key": key })).collect();
    Json(json!({ "total": content.len(), "size": content.len(), "content": content }))
}

async fn create_types(State(front): State<Front>, Json(wanted): Json<Vec<Value>>) -> StatusCode {
    let keys = wanted
        .iter()
        .filter_map(|wanted| wanted["key"].as_str().map(str::to_owned));
    front.beyond().types.extend(keys);
    StatusCode::CREATED
}

async fn assign_type(State(front): State<Front>, Path(id): Path<String>, Json(body): Json<Value>) -> StatusCode {
    let number = body["id"].as_u64().and_then(|number| usize::try_from(number).ok());
    front.beyond().type_of.extend(number.map(|number| (id, number)));
    StatusCode::OK
}

/// One setting after the other.
async fn configure(State(front): State<Front>, Json(settings): Json<Map<String, Value>>) -> StatusCode {
    for (key, value) in settings {
        let request = front.genuine.request(Method::PUT, &["system", "configs", &key]);
        match request.json(&json!({ "value": value })).send().await {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => return answer.status(),
            Err(_) => return StatusCode::BAD_GATEWAY,
        }
    }
    StatusCode::NO_CONTENT
}

async fn actions(State(front): State<Front>, Query(query): Query<HashMap<String, String>>) -> Response {
    let number = |key: &str| query.get(key).and_then(|text| text.parse::<usize>().ok());
    let since = query
        .get("q")
        .and_then(|filter| filter.strip_prefix("lastModifiedAt=ge="));
    let Some(since) = since.and_then(|text| text.parse::<i64>().ok()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let Ok(mut all) = every_action(&front.genuine).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let changed_at = |action: &Value| action["lastModifiedAt"].as_i64().unwrap_or_default();
    all.retain(|action| changed_at(action) >= since);
    all.sort_by_key(changed_at);
    let total = all.len();
    let page = all
        .into_iter()
        .skip(number("offset").unwrap_or(0))
        .take(number("limit").unwrap_or(50));
    let content: Vec<_> = page.collect();
    Json(json!({ "total": total, "size": content.len(), "content": content })).into_response()
}

/// Asks for each target's actions, and for the last word on each.
async fn every_action(genuine: &Genuine) -> Result<Vec<Value>, reqwest::Error> {
    let mut all = Vec::new();
    let mut offset = 0;
    loop {
        let (limit, skip) = (PAGE.to_string(), offset.to_string());
        let targets = genuine
            .get(&["targets"], &[("limit", &limit), ("offset", &skip)])
            .await?;
        let ids = entries(&targets).filter_map(|it| it["controllerId"].as_str());
        for id in ids {
            let actions = genuine.get(&["targets", id, "actions"], &[("limit", &limit)]).await?;
            for action in entries(&actions) {
                all.push(as_in_1_1(genuine, id, action).await?);
            }
        }
        offset += PAGE;
        if entries(&targets).count() < PAGE {
            return Ok(all);
        }
    }
}

async fn as_in_1_1(genuine: &Genuine, target: &str, action: &Value) -> Result<Value, reqwest::Error> {
    let id = action["id"].to_string();
    let path = ["targets", target, "actions", &id];
    let whole = genuine.get(&path, &[]).await?;
    let steps = genuine
        .get(&[&path[..], &["status"]].concat(), &[("limit", "500")])
        .await?;
    let last = entries(&steps).max_by_key(|step| (step["reportedAt"].as_i64(), step["id"].as_i64()));
    // The time of the last step, where it is later: an action's own time moves only when its state does.
    let times = [
        action["lastModifiedAt"].as_i64(),
        last.and_then(|step| step["reportedAt"].as_i64()),
    ];
    let distribution = whole["_links"]["distributionset"]["href"].as_str().unwrap_or_default();
    let number = distribution.rsplit('/').next().unwrap_or_default();
    let set = genuine.get(&["distributionsets", number], &[]).await?;
    let text = |key: &str| set[key].as_str().unwrap_or_default().to_owned();
    Ok(json!({
        "id": action["id"], "type": action["type"], "active": action["status"] == "pending",
        "status": last.map_or(&action["status"], |step| &step["type"]),
        "lastModifiedAt": times.iter().flatten().max(),
        "_links": {
            "target": { "href": format!("http://hawkbit.example/rest/v1/targets/{target}") },
            "distributionset": { "href": distribution, "name": format!("{}:{}", text("name"), text("version")) },
        },
    }))
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list["content"].as_array().into_iter().flatten()
}

fn answer((status, body): (StatusCode, Bytes)) -> Response {
    (status, [("content-type", "application/hal+json")], body).into_response()
}
