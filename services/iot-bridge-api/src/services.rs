//! The composition: which use case gets which port.

mod bridge;
mod devices;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use common::chassis::client_address::TrustedProxies;
use common::chassis::metrics::HttpMetrics;
use common::chassis::shutdown::Shutdown;
use common::chassis::token::TokenVerifier;
use common::domain::{Clock, CurrentNetwork, StoreError};
use common::store::Store;
use prometheus_client::registry::Registry;
use wireguard::quick::HubEndpoint;

use crate::app::addressing::Addressing;
use crate::app::alignment::{Alignment, AlignmentParts};
use crate::app::backlog::Backlog;
use crate::app::blocked_keys::BlockedKeys;
use crate::app::decommission::Decommission;
use crate::app::enrollment::{Enrollment, EnrollmentParts};
use crate::app::fleet::Fleet;
use crate::app::jobs::Jobs;
use crate::app::observe::Observer;
use crate::app::reconcile::Reconciler;
use crate::app::token_secret::TokenPepper;
use crate::app::tokens::Tokens;
use crate::app::{Authority, Network};
use crate::http;
use crate::ports::{CertificateAuthority, VpnGateway};

pub(crate) use self::bridge::BridgeSecrets;
pub use self::bridge::{Bridge, NeighbourParts};
pub use self::devices::DeviceServices;

/// The name of the service, in health answers, metrics and logs.
pub(crate) const SERVICE: &str = "iot-bridge-api";

/// What the service needs from whoever starts it.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// Who signs.
    pub certificate_authority: Arc<dyn CertificateAuthority>,
    /// The hub of the device network.
    pub vpn: Arc<dyn VpnGateway>,
    /// Who tells who an operator is.
    pub access_tokens: Arc<TokenVerifier>,
    /// The systems beside us.
    pub neighbours: NeighbourParts,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The rest.
    pub settings: Settings,
}

/// What can be chosen.
#[derive(Debug)]
pub struct Settings {
    /// The address range of the device network.
    pub network: CurrentNetwork,
    /// Where devices find the hub.
    pub hub_endpoint: HubEndpoint,
    /// Keys that no device may have.
    pub blocked_keys: BlockedKeys,
    /// The key under which enrollment tokens are remembered.
    pub token_pepper: TokenPepper,
    /// How often the hub is compared with the database.
    pub reconcile_every: Duration,
    /// How often the hub is asked who is there.
    pub observe_every: Duration,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
}

/// Which doors a listener has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doors {
    /// Whether devices may enroll here: over TLS, or on loopback, and nowhere else.
    pub enroll: bool,
}

/// The service: its use cases, ready to be served and run. Nothing runs before [`Services::start`].
#[derive(Debug)]
pub struct Services {
    /// Enrolls devices.
    pub enrollment: Arc<Enrollment>,
    /// Shows and changes devices.
    pub fleet: Arc<Fleet>,
    /// Ends devices' lives.
    pub decommission: Arc<Decommission>,
    /// Makes enrollment tokens.
    pub tokens: Arc<Tokens>,
    /// Carries out orders.
    pub jobs: Arc<Jobs>,
    /// Counts what is left to do.
    pub backlog: Arc<Backlog>,
    /// Brings the hub in line.
    pub reconciler: Arc<Reconciler>,
    /// Records who is there.
    pub observer: Arc<Observer>,
    /// Keeps the network's prefixes as they are planned.
    pub addressing: Arc<Addressing>,
    /// Signs; also knows the roots and the revocation list.
    pub authority: Arc<Authority>,
    /// The device network.
    pub network: Arc<Network>,
    /// What devices in service do.
    pub devices: DeviceServices,
    /// Keeps the neighbours told.
    pub bridge: Bridge,
    pub(crate) store: Store,
    pub(crate) access_tokens: Arc<TokenVerifier>,
    pub(crate) pepper: Arc<TokenPepper>,
    pub(crate) hub_endpoint: HubEndpoint,
    pub(crate) trusted_proxies: TrustedProxies,
    /// What the service counts about its requests.
    pub metrics: HttpMetrics,
    pub(crate) metrics_registry: Arc<Registry>,
    reconcile_every: Duration,
    observe_every: Duration,
}

impl Services {
    /// Puts the service together.
    #[expect(
        clippy::too_many_lines,
        reason = "a composition is one list, and shorter lists would hide it"
    )]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            store,
            certificate_authority,
            vpn,
            access_tokens,
            neighbours,
            clock,
            settings,
        } = parts;
        let database = Arc::new(store.clone());
        let authority = Arc::new(Authority::new(
            certificate_authority,
            Arc::clone(&clock),
            settings.blocked_keys,
        ));
        let network = Arc::new(Network::new(vpn, database.clone(), settings.network));
        let pepper = Arc::new(settings.token_pepper);
        let bridge = Bridge::new(neighbours, &store, &clock, pepper.seal());
        let devices = DeviceServices::new(&store, &authority, &network, &clock, bridge.told_at_enrollment());
        let enrollment = Arc::new(Enrollment::new(EnrollmentParts {
            registry: database.clone(),
            directory: database.clone(),
            authority: Arc::clone(&authority),
            network: Arc::clone(&network),
            clock: Arc::clone(&clock),
            told_later: bridge.told_at_enrollment(),
        }));
        let reconciler = Arc::new(Reconciler::new(
            database.clone(),
            database.clone(),
            Arc::clone(&network),
        ));
        let alignment = Arc::new(Alignment::new(AlignmentParts {
            directory: database.clone(),
            authority: Arc::clone(&authority),
            network: Arc::clone(&network),
            enrollment: Arc::clone(&enrollment),
            neighbours: Arc::clone(&bridge.neighbours),
        }));
        let jobs = Arc::new(Jobs::new(
            database.clone(),
            alignment,
            Arc::clone(&clock),
            bridge.told(),
        ));
        let mut registry = Registry::default();
        let backlog = Backlog::new(database.clone(), Arc::clone(&clock), bridge.told(), &mut registry);
        let addressing = Addressing::new(database.clone(), database.clone(), Arc::clone(&network), &mut registry);
        let observer = Observer::new(
            database.clone(),
            database.clone(),
            Arc::clone(&network),
            Arc::clone(&clock),
        )
        .with_metrics(&mut registry);
        let metrics = HttpMetrics::register(&mut registry, SERVICE, env!("CARGO_PKG_VERSION"));
        let fleet = Fleet::new(
            database.clone(),
            database.clone(),
            Arc::clone(&clock),
            Arc::clone(&jobs),
        );
        Self {
            enrollment,
            fleet: Arc::new(fleet),
            decommission: Arc::new(Decommission::new(database.clone(), Arc::clone(&jobs))),
            tokens: Arc::new(Tokens::new(database.clone(), Arc::clone(&clock), Arc::clone(&pepper))),
            observer: Arc::new(observer),
            addressing: Arc::new(addressing),
            jobs,
            backlog: Arc::new(backlog),
            reconciler,
            authority,
            network,
            devices,
            bridge,
            store,
            access_tokens,
            pepper,
            hub_endpoint: settings.hub_endpoint,
            trusted_proxies: settings.trusted_proxies,
            metrics,
            metrics_registry: Arc::new(registry),
            reconcile_every: settings.reconcile_every,
            observe_every: settings.observe_every,
        }
    }

    /// Gives the database back, as the last thing that is done.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Makes the address pool and brings the hub's members back, then starts what runs beside requests. A hub that
    /// is away is no reason not to start.
    pub async fn start(&self, shutdown: &Shutdown) -> Result<(), StoreError> {
        use common::domain::JobQueue as _;

        self.addressing.begin().await?;
        self.store.take_back().await?;
        let stop = shutdown.token();
        shutdown.spawn(Arc::clone(&self.reconciler).run(self.reconcile_every, stop.clone()));
        shutdown.spawn(Arc::clone(&self.addressing).run(stop.clone()));
        shutdown.spawn(Arc::clone(&self.observer).run(self.observe_every, stop.clone()));
        shutdown.spawn(Arc::clone(&self.jobs).run(stop.clone()));
        shutdown.spawn(Arc::clone(&self.backlog).run(stop));
        self.bridge.start(shutdown);
        Ok(())
    }

    /// Returns all routes, with everything around them, for one listener.
    pub fn router(&self, doors: Doors) -> Router {
        http::router(self, doors)
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Parts")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
