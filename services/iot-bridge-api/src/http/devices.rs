//! The fleet: list, show, shut out, let in, decommission.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use common::chassis::json::StrictJson;
use common::chassis::path::PathDeviceId;
use common::chassis::problem::Problem;
use common::chassis::query::StrictQuery;
use common::domain::{
    CertificateRecord, CertificateState, Device, DeviceChanges, DeviceFilter, DeviceId, DeviceState, DeviceView,
    GroupName, LiveFacts, Timestamp, UpdateStatus, rfc3339,
};
use serde::{Deserialize, Serialize};

use super::auth::{Admin, Viewer};
use super::enrollment::label;
use super::problem;
use crate::app::decommission::{Decommission, Decommissioned};
use crate::app::fleet::{DEFAULT_REENROLL_WINDOW, Fleet};

/// Devices on a page when nobody says how many.
const PAGE: u16 = 100;
/// Most devices on a page.
const MAX_PAGE: u16 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<DeviceState>,
    group: Option<GroupName>,
    text: Option<String>,
    after: Option<DeviceId>,
    limit: Option<u16>,
}

#[derive(Serialize)]
pub(super) struct DeviceList {
    devices: Vec<DeviceBody>,
    next: Option<DeviceId>,
}

#[derive(Serialize)]
pub(super) struct DeviceBody {
    device_id: DeviceId,
    state: DeviceState,
    group: GroupName,
    device_type: Option<String>,
    device_name: Option<String>,
    wireguard_ip: Option<Ipv4Addr>,
    created_at: String,
    enrolled_at: Option<String>,
    retired_at: Option<String>,
    last_connected_at: Option<String>,
    /// How far the last update is.
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<UpdateStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<LiveBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateBody>,
}

#[derive(Serialize)]
struct LiveBody {
    last_handshake_at: Option<String>,
    handshake_age_seconds: Option<i64>,
    endpoint: Option<String>,
    received_bytes: i64,
    sent_bytes: i64,
}

#[derive(Serialize)]
struct CertificateBody {
    state: CertificateState,
    serial: Option<String>,
    not_before: Option<String>,
    not_after: Option<String>,
}

pub(super) async fn list(
    Viewer(viewer): Viewer,
    State(fleet): State<Arc<Fleet>>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<DeviceList>, Problem> {
    let filter = DeviceFilter {
        groups: query.group.map(|group| BTreeSet::from([group])),
        state: query.state,
        text: query.text,
        after: query.after,
        limit: query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE),
    };
    let page = fleet.list(&viewer, filter).await.map_err(problem::store)?;
    let now = fleet.now();
    let devices = page
        .views
        .into_iter()
        .map(|view| DeviceBody::of_view(view, now))
        .collect();
    Ok(Json(DeviceList {
        devices,
        next: page.next,
    }))
}

pub(super) async fn show(
    Viewer(viewer): Viewer,
    State(fleet): State<Arc<Fleet>>,
    PathDeviceId(id): PathDeviceId,
) -> Result<Json<DeviceBody>, Problem> {
    let view = fleet.show(&viewer, &id).await.map_err(problem::store)?;
    let view = view.ok_or_else(Problem::not_found)?;
    Ok(Json(DeviceBody::of_view(view, fleet.now())))
}

#[derive(Serialize)]
pub(super) struct DecommissionBody {
    device_id: DeviceId,
    state: DeviceState,
    retired_at: Option<String>,
    /// What each system said: `removed`, `revoked`, or `pending` while a job goes on trying.
    systems: BTreeMap<&'static str, &'static str>,
}

pub(super) async fn decommission(
    admin: Admin,
    State(decommission): State<Arc<Decommission>>,
    PathDeviceId(id): PathDeviceId,
) -> Result<Json<DecommissionBody>, Problem> {
    let done = decommission
        .decommission(&id, &admin.actor())
        .await
        .map_err(problem::registry)?;
    let Decommissioned { device, systems } = done;
    Ok(Json(DecommissionBody {
        device_id: device.id,
        state: device.state,
        retired_at: device.retired_at.map(rfc3339),
        systems: systems
            .into_iter()
            .map(|said| (said.system.as_str(), said.answer))
            .collect(),
    }))
}

/// What is not named stays.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DescribeRequest {
    #[serde(default)]
    group: Option<GroupName>,
    #[serde(default)]
    device_name: Option<String>,
    #[serde(default)]
    device_type: Option<String>,
}

pub(super) async fn describe(
    admin: Admin,
    State(fleet): State<Arc<Fleet>>,
    PathDeviceId(id): PathDeviceId,
    StrictJson(request): StrictJson<DescribeRequest>,
) -> Result<Json<DeviceBody>, Problem> {
    let changes = DeviceChanges {
        group: request.group,
        display_name: label("device_name", request.device_name).map_err(problem::label)?,
        device_type: label("device_type", request.device_type).map_err(problem::label)?,
        told: Vec::new(),
    };
    let device = fleet.describe(&id, &admin.actor(), changes).await;
    Ok(Json(DeviceBody::of(device.map_err(problem::registry)?)))
}

pub(super) async fn quarantine(
    admin: Admin,
    State(fleet): State<Arc<Fleet>>,
    PathDeviceId(id): PathDeviceId,
) -> Result<Json<DeviceBody>, Problem> {
    let device = fleet.quarantine(&id, &admin.actor()).await.map_err(problem::registry)?;
    Ok(Json(DeviceBody::of(device)))
}

pub(super) async fn release(
    admin: Admin,
    State(fleet): State<Arc<Fleet>>,
    PathDeviceId(id): PathDeviceId,
) -> Result<Json<DeviceBody>, Problem> {
    let device = fleet.release(&id, &admin.actor()).await.map_err(problem::registry)?;
    Ok(Json(DeviceBody::of(device)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReenrollQuery {
    for_seconds: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct ReenrollBody {
    device_id: DeviceId,
    allowed_until: String,
}

pub(super) async fn allow_reenroll(
    admin: Admin,
    State(fleet): State<Arc<Fleet>>,
    PathDeviceId(id): PathDeviceId,
    StrictQuery(query): StrictQuery<ReenrollQuery>,
) -> Result<Json<ReenrollBody>, Problem> {
    let window = query.for_seconds.map_or(DEFAULT_REENROLL_WINDOW, Duration::from_secs);
    let until = fleet
        .allow_reenroll(&id, &admin.actor(), window)
        .await
        .map_err(problem::registry)?;
    Ok(Json(ReenrollBody {
        device_id: id,
        allowed_until: rfc3339(until),
    }))
}

impl DeviceBody {
    fn of_view(view: DeviceView, now: Timestamp) -> Self {
        let live = view.live.map(|live| LiveBody::of(live, now));
        let certificate = view.certificate.map(CertificateBody::of);
        Self {
            live,
            certificate,
            update: view.update,
            ..Self::of(view.device)
        }
    }

    fn of(device: Device) -> Self {
        Self {
            device_id: device.id,
            state: device.state,
            group: device.group,
            device_type: device.device_type,
            device_name: device.display_name,
            wireguard_ip: device.address,
            created_at: rfc3339(device.created_at),
            enrolled_at: device.enrolled_at.map(rfc3339),
            retired_at: device.retired_at.map(rfc3339),
            last_connected_at: device.last_connected_at.map(rfc3339),
            update: None,
            live: None,
            certificate: None,
        }
    }
}

impl LiveBody {
    fn of(live: LiveFacts, now: Timestamp) -> Self {
        Self {
            last_handshake_at: live.last_handshake_at.map(rfc3339),
            handshake_age_seconds: live.last_handshake_at.map(|at| (now - at).whole_seconds().max(0)),
            endpoint: live.endpoint,
            received_bytes: live.received_bytes,
            sent_bytes: live.sent_bytes,
        }
    }
}

impl CertificateBody {
    fn of(record: CertificateRecord) -> Self {
        let issued = record.issued.as_ref();
        Self {
            state: record.state,
            serial: issued.map(|issued| issued.serial.clone()),
            not_before: issued.map(|issued| rfc3339(issued.not_before)),
            not_after: issued.map(|issued| rfc3339(issued.not_after)),
        }
    }
}
