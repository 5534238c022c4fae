//! The device network as a whole.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use common::chassis::json::StrictJson;
use common::chassis::problem::Problem;
use common::domain::WireguardKey;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::auth::Admin;
use super::problem;
use crate::app::addressing::{Addressing, NetworkView};

#[derive(Serialize)]
pub(super) struct NetworkBody {
    prefixes: Vec<String>,
    hub_address: Ipv4Addr,
    hub_public_key: Option<WireguardKey>,
    /// `right`, `wrong`, or `away`.
    hub: &'static str,
    addresses: Addresses,
}

#[derive(Serialize)]
struct Addresses {
    total: u32,
    in_use: u64,
    in_quarantine: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrefixBody {
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HubBody {
    public_key: String,
}

pub(super) async fn show(
    _admin: Admin,
    State(addressing): State<Arc<Addressing>>,
) -> Result<Json<NetworkBody>, Problem> {
    let view = addressing.show().await.map_err(problem::store)?;
    Ok(Json(NetworkBody::of(&view)))
}

pub(super) async fn add_prefix(
    admin: Admin,
    State(addressing): State<Arc<Addressing>>,
    StrictJson(body): StrictJson<PrefixBody>,
) -> Result<(StatusCode, Json<NetworkBody>), Problem> {
    let prefix = body
        .prefix
        .parse()
        .map_err(|_malformed| problem::invalid_field("prefix"))?;
    let added = addressing.add_prefix(prefix, &admin.actor()).await;
    added.map_err(problem::add_prefix)?;
    let view = addressing.show().await.map_err(problem::store)?;
    Ok((StatusCode::CREATED, Json(NetworkBody::of(&view))))
}

pub(super) async fn replace_hub(
    admin: Admin,
    State(addressing): State<Arc<Addressing>>,
    StrictJson(body): StrictJson<HubBody>,
) -> Result<StatusCode, Problem> {
    let key = WireguardKey::parse(&body.public_key).map_err(|_malformed| problem::invalid_field("public_key"))?;
    let replaced = addressing.replace_hub(key, &admin.actor()).await;
    replaced.map_err(problem::store)?;
    Ok(StatusCode::NO_CONTENT)
}

impl NetworkBody {
    fn of(view: &NetworkView) -> Self {
        Self {
            prefixes: view.network.prefixes().map(|prefix| prefix.to_string()).collect(),
            hub_address: view.network.hub(),
            hub_public_key: view.hub_key,
            hub: match view.is_hub_right {
                Some(true) => "right",
                Some(false) => "wrong",
                None => "away",
            },
            addresses: Addresses {
                total: view.network.capacity(),
                in_use: view.fill.in_use,
                in_quarantine: view.fill.in_quarantine,
            },
        }
    }
}
