//! What handlers may ask for, and what `/readyz` asks.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::{FromRef, MatchedPath};
use common::chassis::client_address::ClientAddress;
use common::chassis::health::Probe;
use common::chassis::problem::Problem;
use common::chassis::rate_limit::FailureLimiter;
use common::chassis::token::TokenVerifier;
use common::domain::{Actor, AuditEvent, AuditTrail as _, JobState, Operator, StoreError};
use common::store::Store;
use http::request::Parts;
use wireguard::quick::HubEndpoint;

use crate::app::addressing::Addressing;
use crate::app::configuration::Configurations;
use crate::app::decommission::Decommission;
use crate::app::enrollment::Enrollment;
use crate::app::events::Events;
use crate::app::fleet::Fleet;
use crate::app::identity::Identities;
use crate::app::jobs::Jobs;
use crate::app::presence::Presence;
use crate::app::renewal::Renewals;
use crate::app::sweep::Sweep;
use crate::app::token_secret::TokenPepper;
use crate::app::tokens::Tokens;
use crate::app::updates::Updates;
use crate::app::{Authority, Network};
use crate::services::{BridgeSecrets, Doors, Services};

/// Wrong credentials that a client may present in a minute.
const FAILURES_PER_MINUTE: u32 = 50;

/// Everything that handlers are made of; each takes its part as `State<Arc<…>>`. The framework clones it several times
/// for every request.
#[derive(Debug, Clone)]
pub(crate) struct AppState(Arc<AppParts>);

impl Deref for AppState {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

#[derive(Debug)]
pub(crate) struct AppParts {
    enrollment: Arc<Enrollment>,
    fleet: Arc<Fleet>,
    decommission: Arc<Decommission>,
    tokens: Arc<Tokens>,
    jobs: Arc<Jobs>,
    events: Arc<Events>,
    updates: Arc<Updates>,
    sweep: Arc<Sweep>,
    configurations: Arc<Configurations>,
    authority: Arc<Authority>,
    identities: Arc<Identities>,
    renewals: Arc<Renewals>,
    presence: Arc<Presence>,
    addressing: Arc<Addressing>,
    store: Store,
    hub_endpoint: HubEndpoint,
    pub(super) doorkeeper: Arc<Doorkeeper>,
}

/// What tells who is calling.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    pub(super) access_tokens: Arc<TokenVerifier>,
    pub(super) pepper: Arc<TokenPepper>,
    pub(super) bridge: Arc<BridgeSecrets>,
    failures: FailureLimiter,
    pub(super) doors: Doors,
}

impl AppState {
    pub(super) fn new(services: &Services, doors: Doors) -> Self {
        Self(Arc::new(AppParts {
            enrollment: Arc::clone(&services.enrollment),
            fleet: Arc::clone(&services.fleet),
            decommission: Arc::clone(&services.decommission),
            tokens: Arc::clone(&services.tokens),
            jobs: Arc::clone(&services.jobs),
            events: Arc::clone(&services.bridge.events),
            updates: Arc::clone(&services.bridge.updates),
            sweep: Arc::clone(&services.bridge.sweep),
            configurations: Arc::clone(&services.bridge.configurations),
            authority: Arc::clone(&services.authority),
            identities: Arc::clone(&services.devices.identities),
            renewals: Arc::clone(&services.devices.renewals),
            presence: Arc::clone(&services.devices.presence),
            addressing: Arc::clone(&services.addressing),
            store: services.store.clone(),
            hub_endpoint: services.hub_endpoint.clone(),
            doorkeeper: Arc::new(Doorkeeper {
                access_tokens: Arc::clone(&services.access_tokens),
                pepper: Arc::clone(&services.pepper),
                bridge: Arc::clone(&services.bridge.secrets),
                failures: FailureLimiter::new(FAILURES_PER_MINUTE, Duration::from_mins(1)),
                doors,
            }),
        }))
    }
}

impl AppState {
    /// Counts a wrong credential; the error is the 429 for a client that presented too many. Ask before it is recorded:
    /// whoever is refused over and over is not to fill the audit trail.
    pub(super) fn count_failure(&self, client: ClientAddress) -> Result<(), Problem> {
        self.doorkeeper.failures.count_failure(client)
    }

    /// Counts a wrong credential that nobody records; returns the answer to it, or 429 when there were too many.
    pub(super) fn refusal(&self, client: ClientAddress, problem: Problem) -> Problem {
        self.doorkeeper.failures.refusal(client, problem)
    }

    /// Records that a known person asked for what their role does not allow.
    pub(super) async fn record_refused_operator(&self, operator: &Operator, parts: &Parts) -> Result<(), StoreError> {
        let route = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
        let event = AuditEvent {
            actor: Actor::from(operator),
            action: "operator.refused",
            device_id: None,
            detail: serde_json::json!({ "method": parts.method.as_str(), "route": route }),
        };
        self.store.record(&event).await
    }

    /// Who enrolls devices.
    pub(super) fn enrollment(&self) -> &Enrollment {
        &self.enrollment
    }

    /// Who recognises devices.
    pub(super) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Where devices find the hub.
    pub(super) fn hub_endpoint(&self) -> HubEndpoint {
        self.hub_endpoint.clone()
    }
}

macro_rules! part {
    ($field:ident: $type:ty) => {
        impl FromRef<AppState> for $type {
            fn from_ref(state: &AppState) -> Self {
                state.$field.clone()
            }
        }
    };
}

part!(enrollment: Arc<Enrollment>);
part!(fleet: Arc<Fleet>);
part!(decommission: Arc<Decommission>);
part!(tokens: Arc<Tokens>);
part!(jobs: Arc<Jobs>);
part!(events: Arc<Events>);
part!(updates: Arc<Updates>);
part!(sweep: Arc<Sweep>);
part!(configurations: Arc<Configurations>);
part!(authority: Arc<Authority>);
part!(renewals: Arc<Renewals>);
part!(presence: Arc<Presence>);
part!(addressing: Arc<Addressing>);
part!(store: Store);

#[derive(Debug)]
pub(super) struct DatabaseProbe(pub(super) Store);

#[async_trait]
impl Probe for DatabaseProbe {
    fn name(&self) -> &'static str {
        "database"
    }

    async fn check(&self) -> Result<(), String> {
        self.0.ping().await.map_err(|error| error.to_string())
    }
}

#[derive(Debug)]
pub(super) struct CaProbe(pub(super) Arc<Authority>);

#[async_trait]
impl Probe for CaProbe {
    fn name(&self) -> &'static str {
        "certificate_authority"
    }

    async fn check(&self) -> Result<(), String> {
        self.0.health().await.map_err(|error| error.to_string())
    }
}

#[derive(Debug)]
pub(super) struct HubProbe(pub(super) Arc<Network>, pub(super) Arc<Addressing>);

#[async_trait]
impl Probe for HubProbe {
    fn name(&self) -> &'static str {
        "vpn"
    }

    async fn check(&self) -> Result<(), String> {
        self.0.hub_key().await.map(drop).map_err(|error| error.to_string())
    }

    fn hint(&self) -> Option<String> {
        self.1.hint()
    }
}

/// Says when orders were given up. The service works all the same.
#[derive(Debug)]
pub(super) struct OrdersProbe {
    jobs: Arc<Jobs>,
    dead: AtomicUsize,
}

impl OrdersProbe {
    pub(super) fn new(jobs: Arc<Jobs>) -> Self {
        Self {
            jobs,
            dead: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Probe for OrdersProbe {
    fn name(&self) -> &'static str {
        "orders"
    }

    async fn check(&self) -> Result<(), String> {
        let dead = self.jobs.list(Some(JobState::Dead)).await;
        let dead = dead.map_err(|error| error.to_string())?;
        self.dead.store(dead.len(), Ordering::Relaxed);
        Ok(())
    }

    fn hint(&self) -> Option<String> {
        let dead = self.dead.load(Ordering::Relaxed);
        (dead > 0).then(|| format!("{dead} orders were given up: see `GET /jobs?state=dead`"))
    }
}
