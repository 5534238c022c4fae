//! The part of the service that keeps the neighbours told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::shutdown::Shutdown;
use common::domain::{Clock, System};
use common::store::Store;

use crate::app::configuration::{Configurations, DevicePlaces};
use crate::app::events::Events;
use crate::app::metrics::MetricsAccess;
use crate::app::neighbours::Neighbours;
use crate::app::seal::Seal;
use crate::app::sweep::{Sweep, SweepParts};
use crate::app::updates::Updates;
use crate::app::webhook_secret::WebhookSecrets;
use crate::ports::{DevicePlatform, MetricsStore, UpdateServer};

/// The neighbours, and how often they are looked at. The default is none.
pub struct NeighbourParts {
    /// Shows devices to people.
    pub platform: Option<Arc<dyn DevicePlatform>>,
    /// Updates devices.
    pub updates: Option<Arc<dyn UpdateServer>>,
    /// Stores what devices measure.
    pub metrics: Option<Arc<dyn MetricsStore>>,
    /// Where devices find them.
    pub places: DevicePlaces,
    /// Who may send what the platform saw.
    pub platform_secrets: WebhookSecrets,
    /// Who may send what the update server did.
    pub updates_secrets: WebhookSecrets,
    /// How often the results of updates are read.
    pub read_every: Duration,
    /// How often everything is compared.
    pub sweep_every: Duration,
}

impl Default for NeighbourParts {
    fn default() -> Self {
        Self {
            platform: None,
            updates: None,
            metrics: None,
            places: DevicePlaces::default(),
            platform_secrets: WebhookSecrets::default(),
            updates_secrets: WebhookSecrets::default(),
            read_every: Duration::from_secs(10),
            sweep_every: Duration::from_mins(15),
        }
    }
}

/// The use cases around the neighbours.
#[derive(Debug)]
pub struct Bridge {
    /// Takes facts in.
    pub events: Arc<Events>,
    /// Reads the results of updates.
    pub updates: Arc<Updates>,
    /// Compares and heals.
    pub sweep: Arc<Sweep>,
    /// Knows what the agents on devices need.
    pub configurations: Arc<Configurations>,
    pub(crate) neighbours: Arc<Neighbours>,
    pub(crate) secrets: Arc<BridgeSecrets>,
    read_every: Duration,
    sweep_every: Duration,
}

/// Who may send us messages.
#[derive(Debug)]
pub(crate) struct BridgeSecrets {
    pub(crate) platform: WebhookSecrets,
    pub(crate) updates: WebhookSecrets,
}

impl Bridge {
    pub(super) fn new(parts: NeighbourParts, store: &Store, clock: &Arc<dyn Clock>, seal: Seal) -> Self {
        let database = Arc::new(store.clone());
        let metrics = parts
            .metrics
            .map(|store| MetricsAccess::new(store, database.clone(), seal));
        let metrics = metrics.map(Arc::new);
        let configurations = Configurations::new(parts.places, parts.updates.clone(), metrics.clone());
        let neighbours = Neighbours::new(
            parts.platform,
            parts.updates.clone(),
            database.clone(),
            database.clone(),
        );
        let neighbours = Arc::new(neighbours.with_metrics(metrics));
        let systems = neighbours.systems();
        let told: Vec<_> = systems
            .iter()
            .copied()
            .filter(|system| *system == System::DevicePlatform)
            .collect();
        let updates = Arc::new(Updates::new(parts.updates, database.clone(), told, Arc::clone(clock)));
        Self {
            events: Arc::new(Events::new(database.clone(), Arc::clone(clock), systems)),
            sweep: Arc::new(Sweep::new(SweepParts {
                directory: database.clone(),
                ledger: database.clone(),
                inbox: database,
                neighbours: Arc::clone(&neighbours),
                updates: Arc::clone(&updates),
                clock: Arc::clone(clock),
            })),
            updates,
            configurations: Arc::new(configurations),
            neighbours,
            secrets: Arc::new(BridgeSecrets {
                platform: parts.platform_secrets,
                updates: parts.updates_secrets,
            }),
            read_every: parts.read_every,
            sweep_every: parts.sweep_every,
        }
    }

    /// Returns every system that is told about devices.
    pub(super) fn told(&self) -> Vec<System> {
        let ours = [System::Vpn, System::CertificateAuthority].into_iter();
        ours.chain(self.neighbours.systems()).collect()
    }

    /// Returns the systems that are told of a device as soon as it is enrolled; the update server waits for the
    /// device's first connection.
    pub(super) fn told_at_enrollment(&self) -> Vec<System> {
        let systems = self.neighbours.systems().into_iter();
        systems.filter(|system| *system != System::UpdateServer).collect()
    }

    /// Starts what runs beside requests.
    pub(super) fn start(&self, shutdown: &Shutdown) {
        if self.neighbours.systems().is_empty() {
            return;
        }
        shutdown.spawn(Arc::clone(&self.updates).run(self.read_every, shutdown.token()));
        shutdown.spawn(Arc::clone(&self.sweep).run(self.sweep_every, shutdown.token()));
    }
}

impl fmt::Debug for NeighbourParts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NeighbourParts")
            .field("platform", &self.platform.is_some())
            .field("updates", &self.updates.is_some())
            .field("metrics", &self.metrics.is_some())
            .finish_non_exhaustive()
    }
}
