//! The system that stores what devices measure.

use async_trait::async_trait;
use common::domain::DeviceId;
use secrecy::SecretString;
use url::Url;

use super::UpstreamError;

/// A key that was made just now.
#[derive(Debug)]
pub struct MetricsKey {
    /// What the store calls it; no secret.
    pub reference: String,
    /// What a device presents; it is shown this once.
    pub secret: SecretString,
}

/// Where devices write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsPlace {
    /// The store's address as devices see it.
    pub url: Url,
    /// Whose the metrics are.
    pub organization: String,
    /// Where they are kept.
    pub bucket: String,
}

/// Stores what devices measure. Each has a key of its own, which can write to one place and do nothing else.
#[async_trait]
pub trait MetricsStore: Send + Sync + 'static {
    /// Makes a key for a device; every call makes another.
    async fn create_key(&self, id: &DeviceId) -> Result<MetricsKey, UpstreamError>;

    /// Whether a key is still good for what it was made for.
    async fn is_good(&self, reference: &str) -> Result<bool, UpstreamError>;

    /// Deletes a key; repeatable.
    async fn delete_key(&self, reference: &str) -> Result<(), UpstreamError>;

    /// Lists for whom every key was made that we made.
    async fn key_holders(&self) -> Result<Vec<String>, UpstreamError>;

    /// Where devices write.
    fn place(&self) -> MetricsPlace;
}
