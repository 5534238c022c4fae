//! The device network as a whole: its prefixes, how full they are, and its hub.
//!
//! A prefix is added in the database, and every process takes it up within seconds: first the hub serves it, with rules
//! and routes, then addresses are given out from it. Nothing is restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{
    Actor, AddPrefixError, DeviceRegistry, NetworkPlan, PoolFill, StoreError, VpnNetwork, WireguardKey,
};
use ipnet::Ipv4Net;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::Network;
use super::alignment::AlignError;
use crate::ports::UpstreamError;

/// How often the plan is read.
const READ_EVERY: Duration = Duration::from_secs(3);
/// The share of the addresses, in percent, from which on somebody should add a prefix.
const ALERT_PERCENT: u64 = 80;

/// Keeps the network as it is planned.
pub struct Addressing {
    plan: Arc<dyn NetworkPlan>,
    registry: Arc<dyn DeviceRegistry>,
    network: Arc<Network>,
    configured: VpnNetwork,
    is_nearly_full: AtomicBool,
    addresses: Family<AddressLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AddressLabels {
    state: &'static str,
}

/// What there is to know of the network.
#[derive(Debug, Clone, Copy)]
pub struct NetworkView {
    /// Its prefixes and the hub's address.
    pub network: VpnNetwork,
    /// How full it is.
    pub fill: PoolFill,
    /// The key of the hub that answers; none while none does.
    pub hub_key: Option<WireguardKey>,
    /// Whether it is the hub that devices were told about; not known while none answers.
    pub is_hub_right: Option<bool>,
}

impl Addressing {
    /// Keeps a network that is configured like this, and registers its metrics.
    pub fn new(
        plan: Arc<dyn NetworkPlan>,
        registry: Arc<dyn DeviceRegistry>,
        network: Arc<Network>,
        metrics: &mut Registry,
    ) -> Self {
        let addresses = Family::default();
        metrics.register(
            "vpn_addresses",
            "Addresses of the device network: in use, in quarantine, free",
            Family::clone(&addresses),
        );
        Self {
            plan,
            registry,
            configured: network.range(),
            network,
            is_nearly_full: AtomicBool::new(false),
            addresses,
        }
    }

    /// Makes the pool of everything that was planned so far. A hub that is away is told when it is back.
    pub async fn begin(&self) -> Result<(), StoreError> {
        self.registry.ensure_pool(&self.configured).await
    }

    /// Reads the plan and counts on a timer, until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(READ_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.take_up().await {
                tracing::debug!(
                    error = error_chain(&error),
                    "Cannot have the network as it is planned; trying again"
                );
            }
            if let Err(error) = self.count().await {
                tracing::debug!(error = error_chain(&error), "Cannot count the addresses; trying again");
            }
        }
    }

    /// Has the hub serve what is planned, then gives addresses out from it.
    pub async fn take_up(&self) -> Result<(), AlignError> {
        let further = self.plan.further_prefixes().await?;
        let planned = further
            .into_iter()
            .try_fold(self.configured, VpnNetwork::and)
            .map_err(|_invalid| StoreError::Corrupt {
                column: "vpn_prefix.prefix",
            })?;
        let is_news = planned != self.network.range();
        if planned == self.configured && !is_news {
            return Ok(()); // what the hub is configured with itself
        }
        self.network.serve(planned).await?;
        if is_news {
            self.registry.ensure_pool(&planned).await?;
            tracing::info!("The device network has {} prefixes", planned.prefixes().count());
        }
        Ok(())
    }

    /// Counts the addresses, and says once when they run out.
    pub async fn count(&self) -> Result<PoolFill, StoreError> {
        let (fill, capacity) = (self.plan.pool_fill().await?, u64::from(self.network.range().capacity()));
        let taken = fill.in_use + fill.in_quarantine;
        for (state, count) in [
            ("in_use", fill.in_use),
            ("in_quarantine", fill.in_quarantine),
            ("free", capacity.saturating_sub(taken)),
        ] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.addresses.get_or_create(&AddressLabels { state }).set(count);
        }
        let is_nearly_full = taken * 100 >= capacity * ALERT_PERCENT;
        if is_nearly_full && !self.is_nearly_full.swap(is_nearly_full, Ordering::Relaxed) {
            tracing::error!(
                vpn.addresses_taken = taken,
                vpn.addresses = capacity,
                "{taken} of {capacity} addresses are taken; add a prefix with `POST /network/prefixes`"
            );
        }
        self.is_nearly_full.store(is_nearly_full, Ordering::Relaxed);
        Ok(fill)
    }

    /// Says what a person should do about the addresses.
    pub fn hint(&self) -> Option<String> {
        let is_nearly_full = self.is_nearly_full.load(Ordering::Relaxed);
        is_nearly_full.then(|| format!("{ALERT_PERCENT} % of the addresses are taken; add a prefix"))
    }

    /// Shows the network.
    pub async fn show(&self) -> Result<NetworkView, StoreError> {
        let hub_key = self.network.found_hub_key().await.ok();
        let is_hub_right = match self.network.hub_key().await {
            Ok(_) => Some(true),
            Err(AlignError::Upstream(UpstreamError::Unexpected { .. })) => Some(false),
            Err(AlignError::Upstream(_)) => None,
            Err(AlignError::Store(error)) => return Err(error),
        };
        Ok(NetworkView {
            network: self.network.range(),
            fill: self.count().await?,
            hub_key,
            is_hub_right,
        })
    }

    /// Adds a prefix for all processes; this one takes it up at once, if the hub is there.
    pub async fn add_prefix(&self, prefix: Ipv4Net, by: &Actor) -> Result<(), AddPrefixError> {
        // What the first look refuses does not wait for a lock.
        self.network.range().and(prefix)?;
        self.plan.add_prefix(self.configured, prefix, by).await?;
        if let Err(error) = self.take_up().await {
            tracing::warn!(error = error_chain(&error), "The hub does not serve the new prefix yet");
        }
        Ok(())
    }

    /// Accepts a hub with another key: every device has to be told about it, by enrolling again.
    pub async fn replace_hub(&self, key: WireguardKey, by: &Actor) -> Result<(), StoreError> {
        self.plan.replace_hub(key, by).await
    }
}

impl std::fmt::Debug for Addressing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Addressing")
            .field("configured", &self.configured)
            .finish_non_exhaustive()
    }
}
