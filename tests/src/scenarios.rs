//! The scenarios: what has to hold between us and a real server, from outside.

mod keycloak;
mod step_ca;
mod ttyd;
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
    ("keycloak", |stage| Box::pin(keycloak::play(stage))),
    ("step-ca", |stage| Box::pin(step_ca::play(stage))),
    ("ttyd", |stage| Box::pin(ttyd::play(stage))),
    ("wireguard", |stage| Box::pin(wireguard::play(stage))),
    ("wireguard-kernel", |stage| Box::pin(wireguard_kernel::play(stage))),
];
