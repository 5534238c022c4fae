//! What the outside sees: every route of the service on this page.

mod audit;
mod auth;
mod ca;
mod certificate;
mod device;
mod devices;
mod drift;
mod enrollment;
mod est;
mod jobs;
mod network;
mod problem;
mod state;
mod table;
mod tokens;
mod webhooks;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{delete, get, patch, post, put};
use common::chassis::layers::{self, Layers, Limits};
use common::chassis::{health, openapi, problem::ProblemType};

use self::state::{AppState, CaProbe, DatabaseProbe, HubProbe, OrdersProbe};
use self::table::Table;
pub use self::table::{RouteEntry, Who};
pub use self::webhooks::platform_event;
use crate::services::{Doors, SERVICE, Services};

/// What every route does, for people.
const API: &str = include_str!("../../../docs/api.md");

/// Largest body, in bytes: an enrollment with the largest CSR has less.
const MAX_BODY_LENGTH: usize = 16 * 1024;
/// Largest message of another system, in bytes: a device with all that people wrote about it.
const MAX_MESSAGE_LENGTH: usize = 2 * 1024 * 1024;

/// Lists every problem that is this service's own; `docs/errors.md` has them all.
pub const PROBLEMS: &[ProblemType] = problem::OWN;

/// Builds all routes with everything around them.
pub(crate) fn router(services: &Services, doors: Doors) -> Router {
    let state = AppState::new(services, doors);
    let probes: Vec<Arc<dyn health::Probe>> = vec![
        Arc::new(DatabaseProbe(services.store.clone())),
        Arc::new(CaProbe(Arc::clone(&services.authority))),
        Arc::new(HubProbe(
            Arc::clone(&services.network),
            Arc::clone(&services.addressing),
        )),
        Arc::new(OrdersProbe::new(Arc::clone(&services.jobs))),
    ];
    let health = health::router(SERVICE, probes, Arc::clone(&services.metrics_registry));
    let routes = table().into_router().layer(DefaultBodyLimit::max(MAX_BODY_LENGTH));
    let messages = messages()
        .into_router()
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_LENGTH));
    let described = openapi::router(SERVICE, env!("CARGO_PKG_VERSION"), API);
    let all = routes.merge(messages).with_state(state).merge(health).merge(described);
    let layers = Layers {
        limits: Limits {
            body_bytes: MAX_MESSAGE_LENGTH,
            ..Limits::default()
        },
        metrics: services.metrics.clone(),
        trusted_proxies: services.trusted_proxies.clone(),
    };
    layers::standard(all, layers)
}

/// Returns who may call what, without the health routes, which anyone may.
pub fn routes() -> Vec<RouteEntry> {
    [table().into_entries(), messages().into_entries()].concat()
}

#[rustfmt::skip] // one line, one route
fn table() -> Table {
    use Who::{Admin, Anyone, Device, EnrollmentToken, Viewer};
    Table::default()
        .route("POST",   "/devices/{id}/enroll",          EnrollmentToken, post(enrollment::enroll))
        .route("POST",   "/devices/{id}/renew",           Device,          post(device::renew))
        .route("POST",   "/devices/{id}/checkin",         Device,          post(device::check_in))
        .route("GET",    "/devices/{id}/configuration",   Device,          get(device::configuration))
        .route("PUT",    "/devices/{id}/wireguard",       Device,          put(device::bring_key))
        .route("GET",    "/.well-known/est/cacerts",      Anyone,          get(est::authorities))
        .route("GET",    "/.well-known/est/csrattrs",     Anyone,          get(est::attributes))
        .route("POST",   "/.well-known/est/simpleenroll", EnrollmentToken, post(est::enroll))
        .route("POST",   "/.well-known/est/simplereenroll", Device,        post(est::reenroll))
        .route("GET",    "/devices",                      Viewer,          get(devices::list))
        .route("GET",    "/devices/{id}",                 Viewer,          get(devices::show))
        .route("PATCH",  "/devices/{id}",                 Admin,           patch(devices::describe))
        .route("DELETE", "/devices/{id}",                 Admin,           delete(devices::decommission))
        .route("POST",   "/devices/{id}/quarantine",      Admin,           post(devices::quarantine))
        .route("POST",   "/devices/{id}/release",         Admin,           post(devices::release))
        .route("POST",   "/devices/{id}/allow-reenroll",  Admin,           post(devices::allow_reenroll))
        .route("GET",    "/enrollment-tokens",            Admin,           get(tokens::list))
        .route("POST",   "/enrollment-tokens",            Admin,           post(tokens::create))
        .route("DELETE", "/enrollment-tokens/{tid}",      Admin,           delete(tokens::revoke))
        .route("GET",    "/ca/roots",                     Anyone,          get(ca::roots))
        .route("GET",    "/ca/crl",                       Anyone,          get(ca::crl))
        .route("GET",    "/jobs",                         Admin,           get(jobs::list))
        .route("POST",   "/jobs/{jid}/retry",             Admin,           post(jobs::retry))
        .route("GET",    "/drift",                        Admin,           get(drift::list))
        .route("POST",   "/drift/apply",                  Admin,           post(drift::apply))
        .route("GET",    "/network",                      Admin,           get(network::show))
        .route("POST",   "/network/prefixes",             Admin,           post(network::add_prefix))
        .route("PUT",    "/network/hub",                  Admin,           put(network::replace_hub))
        .route("GET",    "/audit",                        Admin,           get(audit::list))
}

#[rustfmt::skip] // one line, one route
fn messages() -> Table {
    use Who::{Platform, UpdateServer};
    Table::default()
        .route("POST",   "/webhooks/thingsboard",         Platform,        post(webhooks::platform))
        .route("POST",   "/webhooks/hawkbit",             UpdateServer,    post(webhooks::updates))
}
