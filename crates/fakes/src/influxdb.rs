//! InfluxDB 2's authorizations, as far as the bridge uses them: the same paths, bodies and statuses, and the same
//! quirks. A token is shown when it is made and in every answer about it; permissions come back with names that nobody
//! sent; an organization that nobody has is 404, a bucket that nobody has is an empty list.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

pub use crate::mischief::Behaviour;
use crate::mischief::Mischief;
use crate::serving::Serving;

/// An InfluxDB that runs until it is dropped.
#[derive(Debug)]
pub struct FakeInfluxDb {
    kept: Arc<Kept>,
    mischief: Arc<Mischief>,
    serving: Serving,
}

#[derive(Debug, Default)]
struct Kept {
    authorizations: Mutex<BTreeMap<String, Value>>,
    /// Numbers are never used again.
    counter: AtomicUsize,
}

type Authorizations<'a> = std::sync::MutexGuard<'a, BTreeMap<String, Value>>;

impl Kept {
    fn authorizations(&self) -> Authorizations<'_> {
        self.authorizations.lock().expect("no test panics while it holds them")
    }
}

impl FakeInfluxDb {
    /// The token of the bridge.
    pub const TOKEN: &str = "the-token-of-a-fake==";
    /// The organization.
    pub const ORGANIZATION: &str = "iot";
    /// The bucket.
    pub const BUCKET: &str = "telemetry";
    const ORGANIZATION_ID: &str = "0a0a0a0a0a0a0a0a";
    const BUCKET_ID: &str = "0b0b0b0b0b0b0b0b";

    /// Starts one with an organization and a bucket on a free port of the loopback interface.
    pub async fn start() -> Self {
        Self::start_with_seed(1).await
    }

    /// As [`start`](Self::start); the seed decides which answers are trouble.
    pub async fn start_with_seed(seed: u64) -> Self {
        let (kept, mischief) = (Arc::new(Kept::default()), Arc::new(Mischief::new(seed)));
        let serving = Serving::start(router(Arc::clone(&kept)), &mischief).await;
        Self {
            kept,
            mischief,
            serving,
        }
    }

    /// Returns its address.
    pub fn url(&self) -> &str {
        &self.serving.url
    }

    /// Changes how it answers from now on.
    pub fn behaves(&self, behaviour: Behaviour) {
        self.mischief.set(behaviour);
    }

    /// Whether a token may write to our bucket, and do nothing else.
    pub fn can_only_write(&self, token: &str) -> bool {
        let kept = self.kept.authorizations();
        let Some(found) = kept.values().find(|it| it["token"] == token) else {
            return false;
        };
        let permissions = found["permissions"].as_array().map(Vec::as_slice);
        let Some([only]) = permissions else { return false };
        found["status"] == "active" && only["action"] == "write" && only["resource"]["id"] == Self::BUCKET_ID
    }

    /// Lists the descriptions of all authorizations, sorted.
    pub fn descriptions(&self) -> Vec<String> {
        let kept = self.kept.authorizations();
        let descriptions = kept.values().filter_map(|it| it["description"].as_str());
        let mut descriptions: Vec<_> = descriptions.map(str::to_owned).collect();
        descriptions.sort();
        descriptions
    }

    /// Changes every authorization by hand.
    pub fn change_all(&self, change: impl Fn(&mut Value)) {
        self.kept.authorizations().values_mut().for_each(change);
    }

    /// Deletes every authorization by hand.
    pub fn delete_all(&self) {
        self.kept.authorizations().clear();
    }
}

fn router(kept: Arc<Kept>) -> Router {
    Router::new()
        .route("/api/v2/orgs", get(organizations))
        .route("/api/v2/buckets", get(buckets))
        .route("/api/v2/authorizations", get(list).post(create))
        .route("/api/v2/authorizations/{id}", get(show).delete(delete))
        .layer(from_fn(only_the_bridge))
        .with_state(kept)
}

async fn only_the_bridge(request: Request, next: Next) -> Response {
    let header = request.headers().get("authorization");
    if header.is_some_and(|header| header == format!("Token {}", FakeInfluxDb::TOKEN).as_str()) {
        return next.run(request).await;
    }
    error(StatusCode::UNAUTHORIZED, "unauthorized", "unauthorized access")
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

fn not_found(message: &str) -> Response {
    error(StatusCode::NOT_FOUND, "not found", message)
}

async fn organizations(Query(query): Query<HashMap<String, String>>) -> Response {
    if query.get("org").is_none_or(|name| name != FakeInfluxDb::ORGANIZATION) {
        return not_found("organization name not found");
    }
    let body = json!({ "orgs": [{ "id": FakeInfluxDb::ORGANIZATION_ID, "name": FakeInfluxDb::ORGANIZATION }] });
    Json(body).into_response()
}

async fn buckets(Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let is_ours = query.get("orgID").is_some_and(|id| id == FakeInfluxDb::ORGANIZATION_ID)
        && query.get("name").is_some_and(|name| name == FakeInfluxDb::BUCKET);
    let bucket = json!({ "id": FakeInfluxDb::BUCKET_ID, "name": FakeInfluxDb::BUCKET, "type": "user" });
    Json(json!({ "buckets": is_ours.then_some(bucket).into_iter().collect::<Vec<_>>() }))
}

async fn list(State(kept): State<Arc<Kept>>) -> Json<Value> {
    let all: Vec<_> = kept.authorizations().values().cloned().collect();
    Json(json!({ "authorizations": all, "links": { "self": "/api/v2/authorizations" } }))
}

async fn create(State(kept): State<Arc<Kept>>, Json(mut body): Json<Value>) -> Response {
    let permissions = body["permissions"].as_array_mut();
    let Some(permissions) = permissions.filter(|permissions| !permissions.is_empty()) else {
        return error(
            StatusCode::BAD_REQUEST,
            "invalid",
            "authorization must include permissions",
        );
    };
    for permission in permissions {
        permission["resource"]["name"] = json!(FakeInfluxDb::BUCKET);
        permission["resource"]["org"] = json!(FakeInfluxDb::ORGANIZATION);
    }
    let id = format!("0c{:014x}", kept.counter.fetch_add(1, Ordering::Relaxed));
    body["id"] = json!(id);
    body["token"] = json!(format!("token-{id}=="));
    body["user"] = json!("admin");
    kept.authorizations().insert(id, body.clone());
    (StatusCode::CREATED, Json(body)).into_response()
}

async fn show(State(kept): State<Arc<Kept>>, Path(id): Path<String>) -> Response {
    let all = kept.authorizations();
    all.get(&id).map_or_else(
        || not_found("authorization not found"),
        |it| Json(it.clone()).into_response(),
    )
}

async fn delete(State(kept): State<Arc<Kept>>, Path(id): Path<String>) -> Response {
    let removed = kept.authorizations().remove(&id);
    removed.map_or_else(
        || not_found("authorization not found"),
        |_| StatusCode::NO_CONTENT.into_response(),
    )
}
