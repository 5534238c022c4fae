use async_trait::async_trait;
use ipnet::Ipv4Net;

use super::{Actor, InvalidVpnNetwork, StoreError, VpnNetwork, WireguardKey};

/// How full the pool of addresses is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolFill {
    /// Addresses that devices have.
    pub in_use: u64,
    /// Addresses of decommissioned devices that are not given out yet.
    pub in_quarantine: u64,
}

/// Why a prefix is not added.
#[derive(Debug, thiserror::Error)]
pub enum AddPrefixError {
    /// It does not fit to the network.
    #[error(transparent)]
    Invalid(#[from] InvalidVpnNetwork),
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is decided about the device network as a whole, for all processes.
#[async_trait]
pub trait NetworkPlan: Send + Sync + 'static {
    /// Lists the prefixes that were added to the configured one, oldest first.
    async fn further_prefixes(&self) -> Result<Vec<Ipv4Net>, StoreError>;

    /// Adds a prefix to the network that is `configured`; one that was added before changes nothing. Its addresses are
    /// given out by processes that [use](super::DeviceRegistry::ensure_pool) it.
    async fn add_prefix(&self, configured: VpnNetwork, prefix: Ipv4Net, by: &Actor) -> Result<(), AddPrefixError>;

    /// Counts the addresses that are not free.
    async fn pool_fill(&self) -> Result<PoolFill, StoreError>;

    /// Finds the hub on record; none before the first was met.
    async fn find_hub(&self) -> Result<Option<WireguardKey>, StoreError>;

    /// Records which hub there is, the first time; returns the hub on record.
    async fn hub_on_record(&self, found: WireguardKey) -> Result<WireguardKey, StoreError>;

    /// Puts another hub on record: a person says that devices are to be told about this one.
    async fn replace_hub(&self, key: WireguardKey, by: &Actor) -> Result<(), StoreError>;
}
