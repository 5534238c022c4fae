use std::sync::Arc;
use std::time::Duration;

use common::domain::{
    Actor, Clock, CurrentNetwork, DeviceRegistry as _, NetworkPlan as _, SystemClock, VpnNetwork, WireguardKey,
};
use common::store::{Store, StoreOptions};
use iot_bridge_api::adapters::wireguard::WireguardHub;
use iot_bridge_api::app::Network;
use iot_bridge_api::app::addressing::Addressing;
use iot_bridge_api::app::observe::Observer;
use iot_bridge_api::app::reconcile::{Reconciler, Swept};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use wireguard::SocketHub;

use super::device::Device;
use crate::failure::{Failure, ensure};

/// How often everything is compared at least; the small network of this stage is compared at every look.
const RECONCILE: Duration = Duration::from_mins(1);
const OBSERVE: Duration = Duration::from_secs(1);

/// The bridge's own keepers of the network, over a database of their own: what `iot-bridge-api serve` runs.
pub(in crate::scenarios) struct Bridge {
    pub(in crate::scenarios) store: Store,
    clock: Arc<dyn Clock>,
    addressing: Arc<Addressing>,
    reconciler: Arc<Reconciler>,
    keepers: JoinSet<()>,
    network: VpnNetwork,
}

impl Bridge {
    /// Watches over the hub behind a socket; nobody belongs on it yet.
    pub(in crate::scenarios) async fn start(
        socket: &std::path::Path,
        network: VpnNetwork,
        database: &str,
    ) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open(database, StoreOptions::new("wireguard"), Arc::clone(&clock)).await?;
        store.ensure_pool(&network).await?;
        let current = CurrentNetwork::from(network);
        let database = Arc::new(store.clone());
        let hub = WireguardHub::new(Arc::new(SocketHub::new(socket, current.clone())), current.clone());
        let members = Arc::new(Network::new(Arc::new(hub), database.clone(), current));
        let addressing = Addressing::new(
            database.clone(),
            database.clone(),
            Arc::clone(&members),
            &mut Registry::default(),
        );
        let (addressing, stop) = (Arc::new(addressing), CancellationToken::new());
        let reconciler = Reconciler::new(database.clone(), database.clone(), Arc::clone(&members));
        let reconciler = Arc::new(reconciler);
        let observer = Observer::new(database.clone(), database, members, Arc::clone(&clock));
        let mut keepers = JoinSet::new();
        keepers.spawn(Arc::clone(&reconciler).run(RECONCILE, stop.clone()));
        keepers.spawn(Arc::new(observer).run(OBSERVE, stop.clone()));
        keepers.spawn(Arc::clone(&addressing).run(stop));
        Ok(Self {
            store,
            clock,
            addressing,
            reconciler,
            keepers,
            network,
        })
    }

    /// Puts a device on record; the reconciler does the rest.
    pub(in crate::scenarios) async fn enroll(&self, device: &Device) -> Result<(), Failure> {
        let name = device.namespace.name().to_owned();
        fakes::fleet::enroll_with_key(&self.store, &*self.clock, &name, device.as_peer().key).await;
        let id = name.parse()?;
        let recorded = common::domain::DeviceDirectory::find(&self.store, &id).await?;
        let address = recorded.and_then(|device| device.address);
        ensure(
            address == Some(device.address.ip()),
            format_args!("{name} got another address than {}", device.address),
        )
    }

    /// Puts somebody on record who is not there.
    pub(in crate::scenarios) async fn enroll_key(&self, name: &str, key: WireguardKey) {
        fakes::fleet::enroll_with_key(&self.store, &*self.clock, name, key).await;
    }

    /// Brings the hub in line now.
    pub(in crate::scenarios) async fn sweep(&self) -> Result<Swept, Failure> {
        Ok(self.reconciler.sweep().await?)
    }

    /// Adds a prefix, as an admin does.
    pub(in crate::scenarios) async fn add_prefix(&self, prefix: &str) -> Result<VpnNetwork, Failure> {
        let prefix = prefix.parse()?;
        self.addressing.add_prefix(prefix, &Actor::Console).await?;
        ensure(
            self.store.further_prefixes().await? == [prefix],
            "the prefix is not on record",
        )?;
        Ok(self.network.and(prefix)?)
    }

    /// Stops watching.
    pub(in crate::scenarios) async fn end(&mut self) {
        self.keepers.shutdown().await;
    }
}
