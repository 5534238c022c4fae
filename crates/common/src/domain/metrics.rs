use async_trait::async_trait;

use super::{DeviceId, StoreError};

/// A device's key to the metrics store as it is kept: whoever reads the database cannot write with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedMetricsKey {
    /// What the metrics store calls it; no secret.
    pub reference: String,
    /// The key itself, sealed.
    pub sealed: Vec<u8>,
}

/// The devices' keys to the metrics store, one a device.
#[async_trait]
pub trait MetricsKeys: Send + Sync + 'static {
    /// Finds a device's key.
    async fn metrics_key(&self, id: &DeviceId) -> Result<Option<SealedMetricsKey>, StoreError>;

    /// Keeps a device's key, in place of the one before.
    async fn keep_metrics_key(&self, id: &DeviceId, key: &SealedMetricsKey) -> Result<(), StoreError>;

    /// Forgets a device's key.
    async fn forget_metrics_key(&self, id: &DeviceId) -> Result<(), StoreError>;
}
