//! The page, and what it asks about the fleet.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use common::chassis::path::PathDeviceId;
use common::chassis::problem::Problem;
use common::chassis::query::StrictQuery;
use common::domain::{
    Clock, DeviceDirectory, DeviceFilter, DeviceId, DeviceState, DeviceView, Operator, Role, Timestamp, UpdateStatus,
    is_online,
};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::problem;
use crate::assets::{ASSETS, Asset};
use crate::origin::WebOrigin;

/// Devices in one answer.
const PAGE_SIZE: u16 = 1000;

/// What the page needs to know before anyone has logged in, and the policy that it lives under.
pub(crate) struct Page {
    issuer: String,
    client_id: String,
    content_security_policy: HeaderValue,
    clock: Arc<dyn Clock>,
}

impl Page {
    pub(crate) fn new(issuer: &str, client_id: &str, frame_ancestors: &str, clock: Arc<dyn Clock>) -> Self {
        let issuer_origin = url::Url::parse(issuer).ok().and_then(|url| WebOrigin::of(&url));
        let issuer_origin = issuer_origin.map(|origin| origin.to_string()).unwrap_or_default();
        // xterm.js sets sizes and colours as inline styles; scripts come from us alone.
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
             font-src 'self'; connect-src 'self' {issuer_origin}; base-uri 'none'; form-action 'none'; \
             frame-ancestors {frame_ancestors}"
        );
        Self {
            issuer: issuer.to_owned(),
            client_id: client_id.to_owned(),
            content_security_policy: HeaderValue::from_str(&policy)
                .unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
            clock,
        }
    }
}

/// `GET /` and `GET /ui/callback`
pub(super) async fn index(State(page): State<Arc<Page>>) -> Result<Response, Problem> {
    let asset = ASSETS
        .iter()
        .find(|asset| asset.path == "index.html")
        .ok_or_else(Problem::not_found)?;
    Ok(serve(asset, &page))
}

/// `GET /ui/terminal/{id}`: the page with one device's terminal and nothing else, for another site's frame. Whether
/// there is such a device is said to nobody before the page has logged in.
pub(super) async fn widget(_device: PathDeviceId, page: State<Arc<Page>>) -> Result<Response, Problem> {
    index(page).await
}

/// `GET /ui/assets/{*path}`
pub(super) async fn asset(State(page): State<Arc<Page>>, Path(path): Path<String>) -> Result<Response, Problem> {
    let wanted = ASSETS
        .iter()
        .find(|asset| asset.path.strip_prefix("assets/") == Some(path.as_str()));
    wanted.map(|asset| serve(asset, &page)).ok_or_else(Problem::not_found)
}

fn serve(asset: &'static Asset, page: &Page) -> Response {
    let caching = if asset.immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = asset.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(CONTENT_SECURITY_POLICY, page.content_security_policy.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

#[derive(Debug, Serialize)]
pub(super) struct PageConfig {
    issuer: String,
    client_id: String,
}

/// `GET /ui/config.json`
pub(super) async fn config(State(page): State<Arc<Page>>) -> Json<PageConfig> {
    Json(PageConfig {
        issuer: page.issuer.clone(),
        client_id: page.client_id.clone(),
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct FleetQuery {
    /// The `next` of the page before.
    after: Option<String>,
    /// Only devices whose id or name contains this.
    text: Option<String>,
}

/// The fleet as a person may see it.
#[derive(Debug, Serialize)]
pub(super) struct Fleet {
    devices: Vec<FleetDevice>,
    /// Where the next page starts; none when this is the last.
    next: Option<DeviceId>,
    user: User,
}

#[derive(Debug, Serialize)]
struct FleetDevice {
    id: DeviceId,
    display_name: Option<String>,
    device_type: Option<String>,
    group: String,
    state: DeviceState,
    address: Option<String>,
    online: bool,
    handshake_age_seconds: Option<i64>,
    may_open: bool,
    /// How far its last update is; none when it never had one.
    update: Option<UpdateStatus>,
}

#[derive(Debug, Serialize)]
struct User {
    username: String,
    role: Role,
}

/// `GET /ui/api/devices`
pub(super) async fn devices(
    Caller(operator): Caller,
    State(directory): State<Arc<dyn DeviceDirectory>>,
    State(page): State<Arc<Page>>,
    StrictQuery(query): StrictQuery<FleetQuery>,
) -> Result<Json<Fleet>, Problem> {
    let after = query.after.map(|text| DeviceId::parse(&text)).transpose();
    let filter = DeviceFilter {
        groups: operator.seen_groups(None),
        text: query.text.filter(|text| !text.is_empty()),
        after: after.map_err(|_invalid| Problem::invalid_device_id())?,
        limit: PAGE_SIZE,
        ..DeviceFilter::default()
    };
    let found = directory
        .list(&filter)
        .await
        .map_err(|error| problem::store_problem(&error))?;
    let now = page.clock.now();
    let devices = found
        .views
        .iter()
        .map(|view| FleetDevice::new(view, &operator, now))
        .collect();
    Ok(Json(Fleet {
        devices,
        next: found.next,
        user: User {
            username: operator.username,
            role: operator.role,
        },
    }))
}

impl FleetDevice {
    fn new(view: &DeviceView, operator: &Operator, now: Timestamp) -> Self {
        let device = &view.device;
        let last_handshake = view.live.as_ref().and_then(|live| live.last_handshake_at);
        Self {
            id: device.id.clone(),
            display_name: device.display_name.clone(),
            device_type: device.device_type.clone(),
            group: device.group.to_string(),
            state: device.state,
            address: device.address.map(|address| address.to_string()),
            online: is_online(last_handshake, now),
            handshake_age_seconds: last_handshake.map(|at| (now - at).whole_seconds().max(0)),
            may_open: operator.may_open(device),
            update: view.update,
        }
    }
}
