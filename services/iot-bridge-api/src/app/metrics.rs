//! The devices' keys to the metrics store. It shows a key once, so it is kept here, sealed.
//!
//! A key that was made and not kept, because the power went, is nobody's: it was never given out.

use std::sync::Arc;

use async_trait::async_trait;
use common::domain::{DeviceId, DriftKind, MetricsKeys, SealedMetricsKey, StoreError, System};
use secrecy::SecretString;

use super::seal::Seal;
use crate::ports::{MetricsPlace, MetricsStore, Neighbour, Passport, UpstreamError};

/// Gives keys out and takes them back.
pub struct MetricsAccess {
    store: Arc<dyn MetricsStore>,
    keys: Arc<dyn MetricsKeys>,
    seal: Seal,
}

impl MetricsAccess {
    /// Gives out keys of this store.
    pub fn new(store: Arc<dyn MetricsStore>, keys: Arc<dyn MetricsKeys>, seal: Seal) -> Self {
        Self { store, keys, seal }
    }

    /// Returns where a device writes, and with what; none while it has no key.
    pub async fn of(&self, id: &DeviceId) -> Result<Option<(MetricsPlace, SecretString)>, StoreError> {
        let kept = self.keys.metrics_key(id).await?;
        let secret = kept.and_then(|key| self.seal.open(id, &key.sealed));
        Ok(secret.map(|secret| (self.store.place(), secret)))
    }

    async fn kept(&self, id: &DeviceId) -> Result<Option<SealedMetricsKey>, UpstreamError> {
        self.keys.metrics_key(id).await.map_err(not_kept)
    }

    /// Whether a device can write with what we would give it.
    async fn is_good(&self, id: &DeviceId, kept: &SealedMetricsKey) -> Result<bool, UpstreamError> {
        Ok(self.seal.open(id, &kept.sealed).is_some() && self.store.is_good(&kept.reference).await?)
    }
}

#[async_trait]
impl Neighbour for MetricsAccess {
    async fn ensure(&self, passport: &Passport) -> Result<(), UpstreamError> {
        let id = &passport.id;
        let before = self.kept(id).await?;
        if let Some(kept) = &before
            && self.is_good(id, kept).await?
        {
            return Ok(());
        }
        let fresh = self.store.create_key(id).await?;
        let key = SealedMetricsKey {
            sealed: self.seal.close(id, &fresh.secret),
            reference: fresh.reference,
        };
        self.keys.keep_metrics_key(id, &key).await.map_err(not_kept)?;
        match before {
            Some(before) => self.store.delete_key(&before.reference).await,
            None => Ok(()),
        }
    }

    async fn differences(&self, passport: &Passport) -> Result<Vec<DriftKind>, UpstreamError> {
        Ok(match self.kept(&passport.id).await? {
            None => vec![DriftKind::Missing],
            Some(kept) if self.is_good(&passport.id, &kept).await? => Vec::new(),
            Some(_) => vec![DriftKind::WrongCredentials],
        })
    }

    /// A key is all that the store has of a device.
    async fn shut_out(&self, id: &DeviceId) -> Result<(), UpstreamError> {
        self.remove(id).await
    }

    async fn admits(&self, id: &DeviceId) -> Result<bool, UpstreamError> {
        match self.kept(id).await? {
            Some(kept) => self.store.is_good(&kept.reference).await,
            None => Ok(false),
        }
    }

    async fn remove(&self, id: &DeviceId) -> Result<(), UpstreamError> {
        let Some(kept) = self.kept(id).await? else {
            return Ok(());
        };
        self.store.delete_key(&kept.reference).await?;
        self.keys.forget_metrics_key(id).await.map_err(not_kept)
    }

    async fn names(&self) -> Result<Vec<String>, UpstreamError> {
        self.store.key_holders().await
    }
}

/// Our own database is away: the same again may work later.
fn not_kept(error: StoreError) -> UpstreamError {
    UpstreamError::unavailable(System::MetricsStore, error)
}

impl std::fmt::Debug for MetricsAccess {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("MetricsAccess")
    }
}
