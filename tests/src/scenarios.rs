//! The scenarios: what has to hold between us and a real server, from outside.

mod clients;
mod hawkbit;
mod keycloak;
mod load;
mod mosquitto;
mod socket;
mod step_ca;
mod terminal;
mod ttyd;
mod updater;
mod webhooks;
mod wireguard;
mod wireguard_kernel;

use std::pin::Pin;

use crate::failure::Failure;
use crate::stage::Stage;

/// Plays one scenario to its end or first failure.
pub(crate) type Scenario = fn(&Stage) -> Play<'_>;

type Play<'stage> = Pin<Box<dyn Future<Output = Result<(), Failure>> + 'stage>>;

/// Every scenario by its name.
pub(crate) const SCENARIOS: &[(&str, Scenario)] = &[
    ("clients", |stage| Box::pin(clients::play(stage))),
    ("hawkbit", |stage| Box::pin(hawkbit::play(stage))),
    ("keycloak", |stage| Box::pin(keycloak::play(stage))),
    ("many-sessions", |stage| Box::pin(load::many_sessions(stage))),
    ("mosquitto", |stage| Box::pin(mosquitto::play(stage))),
    ("rolling-restart", |stage| Box::pin(load::rolling_restart(stage))),
    ("stalled-clients", |stage| Box::pin(load::stalled_clients(stage))),
    ("step-ca", |stage| Box::pin(step_ca::play(stage))),
    ("terminal", |stage| Box::pin(terminal::play(stage))),
    ("ttyd", |stage| Box::pin(ttyd::play(stage))),
    ("updater", |stage| Box::pin(updater::play(stage))),
    ("webhooks", |stage| Box::pin(webhooks::play(stage))),
    ("wireguard", |stage| Box::pin(wireguard::play(stage))),
    ("wireguard-large", |stage| Box::pin(wireguard::large::play(stage))),
    ("wireguard-kernel", |stage| Box::pin(wireguard_kernel::play(stage))),
];
