//! What a device does that has its certificate: renew it, show that it lives, ask for settings, bring its key.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use common::chassis::json::StrictJson;
use common::chassis::problem::Problem;
use common::domain::{DeviceId, System, WireguardKey, rfc3339};
use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::auth::ProvenDevice;
use super::certificate::{self, CertificateFields};
use super::enrollment::tunnel_config;
use super::problem;
use super::state::AppState;
use crate::app::configuration::Configurations;
use crate::app::presence::Presence;
use crate::app::renewal::{RenewalOutcome, Renewals};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RenewRequest {
    csr: String,
}

#[derive(Serialize)]
struct RenewResponse {
    device_id: DeviceId,
    #[serde(flatten)]
    certificate: CertificateFields,
    server_time: String,
}

/// Nobody else's name may come in here, so that a body is no second way to name a device.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyRequest {
    public_key: String,
}

#[derive(Serialize)]
pub(super) struct KeyResponse {
    device_id: DeviceId,
    wireguard_ip: std::net::Ipv4Addr,
    wireguard_config: String,
}

#[derive(Serialize)]
pub(super) struct CheckInResponse {
    device_id: DeviceId,
    server_time: String,
    /// When the certificate ends that was used.
    not_after: Option<String>,
}

/// What the agents on a device need; null where nothing is configured, or not ready yet.
#[derive(Serialize)]
pub(super) struct ConfigurationResponse {
    mqtt_url: Option<String>,
    hawkbit: Option<HawkbitAccess>,
    influx: Option<InfluxAccess>,
    server_time: String,
}

#[derive(Serialize)]
struct HawkbitAccess {
    url: String,
    tenant: String,
    target_token: String,
}

#[derive(Serialize)]
struct InfluxAccess {
    url: String,
    org: String,
    bucket: String,
    token: String,
}

pub(super) async fn configuration(
    ProvenDevice(device): ProvenDevice,
    State(presence): State<Arc<Presence>>,
    State(configurations): State<Arc<Configurations>>,
) -> Result<Json<ConfigurationResponse>, Problem> {
    let configuration = configurations.of(&device.device.id).await;
    let configuration = configuration.map_err(problem::align)?;
    Ok(Json(ConfigurationResponse {
        mqtt_url: configuration.mqtt.map(String::from),
        hawkbit: configuration.updates.map(|(place, secret)| HawkbitAccess {
            url: place.url.into(),
            tenant: place.tenant,
            target_token: secret.expose_secret().to_owned(),
        }),
        influx: configuration.metrics.map(|(place, secret)| InfluxAccess {
            url: place.url.into(),
            org: place.organization,
            bucket: place.bucket,
            token: secret.expose_secret().to_owned(),
        }),
        server_time: rfc3339(presence.now()),
    }))
}

pub(super) async fn renew(
    ProvenDevice(device): ProvenDevice,
    State(renewals): State<Arc<Renewals>>,
    StrictJson(request): StrictJson<RenewRequest>,
) -> Result<Response, Problem> {
    let outcome = renewals
        .renew(&device, Ok(&request.csr))
        .await
        .map_err(problem::enroll)?;
    Ok(match outcome {
        RenewalOutcome::Renewed(renewed) => {
            let status = if renewed.repeated {
                StatusCode::OK
            } else {
                StatusCode::CREATED
            };
            let body = RenewResponse {
                device_id: renewed.device_id,
                certificate: CertificateFields::of(renewed.certificate),
                server_time: rfc3339(renewed.server_time),
            };
            (status, Json(body)).into_response()
        }
        RenewalOutcome::Waiting { retry_after } => {
            certificate::waiting(device.device.id, System::CertificateAuthority, retry_after)
        }
    })
}

pub(super) async fn check_in(
    ProvenDevice(device): ProvenDevice,
    State(presence): State<Arc<Presence>>,
) -> Result<Json<CheckInResponse>, Problem> {
    let now = presence.check_in(&device).await.map_err(problem::enroll)?;
    Ok(Json(CheckInResponse {
        device_id: device.device.id,
        server_time: rfc3339(now),
        not_after: device.certificate.issued.map(|issued| rfc3339(issued.not_after)),
    }))
}

pub(super) async fn bring_key(
    ProvenDevice(device): ProvenDevice,
    State(presence): State<Arc<Presence>>,
    State(state): State<AppState>,
    StrictJson(request): StrictJson<KeyRequest>,
) -> Result<Json<KeyResponse>, Problem> {
    let key = WireguardKey::parse(&request.public_key);
    let place = presence.bring_key(&device, key).await.map_err(problem::enroll)?;
    Ok(Json(KeyResponse {
        device_id: device.device.id,
        wireguard_ip: place.address.ip(),
        wireguard_config: tunnel_config(place, None, state.hub_endpoint()),
    }))
}
