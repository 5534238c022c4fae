//! Who a device is, by the certificate that it proved to hold.
//!
//! The listener has checked that an authority of ours signed it; that is not enough. A certificate counts only while
//! it is on record as the device's current one, or as the one that is to follow it, byte for byte.

use std::sync::Arc;

use common::domain::{
    AuditTrail, CertificateRecord, CertificateState, Clock, Device, DeviceDirectory, DeviceId, DeviceRegistry,
    DeviceState, RegistryError, StoreError, System,
};

use super::certificate;
use super::refusals::Refusals;

/// How often the record of a device's last contact is written at most.
const CONTACT_INTERVAL: time::Duration = time::Duration::seconds(30);

/// A device that proved who it is, and is in service.
#[derive(Debug)]
pub struct ProvenDevice {
    /// The device.
    pub device: Device,
    /// The certificate that it holds.
    pub certificate: CertificateRecord,
}

/// Why a certificate lets nobody in.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// It is not on record, was replaced or revoked, or has ended; which one is nobody's business.
    #[error("the certificate is not a current one of a device")]
    NotCurrent,
    /// It is good and the device is shut out for now.
    #[error("the device is in quarantine")]
    Quarantined,
    /// It is good, and another device's than the one that is spoken for.
    #[error("the certificate is another device's")]
    OtherDevice,
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Recognises devices.
pub struct Identities {
    directory: Arc<dyn DeviceDirectory>,
    registry: Arc<dyn DeviceRegistry>,
    clock: Arc<dyn Clock>,
    refusals: Refusals,
    /// The systems that hold a device's certificate, and are told of a new one.
    told_later: Vec<System>,
}

/// What [`Identities`] is built from.
pub struct IdentityParts {
    /// Where devices are found.
    pub directory: Arc<dyn DeviceDirectory>,
    /// Where their proofs are recorded.
    pub registry: Arc<dyn DeviceRegistry>,
    /// Where refusals are recorded.
    pub audit: Arc<dyn AuditTrail>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The systems that hold a device's certificate, and are told of a new one.
    pub told_later: Vec<System>,
}

impl Identities {
    /// Recognises the devices on record.
    pub fn new(parts: IdentityParts) -> Self {
        let IdentityParts {
            directory,
            registry,
            audit,
            clock,
            told_later,
        } = parts;
        Self {
            directory,
            registry,
            clock,
            refusals: Refusals::new(audit),
            told_later,
        }
    }

    /// Recognises the device that holds this certificate (DER). The first use of a renewed certificate makes it the
    /// current one. A no is not recorded yet: see [`Self::record_refused`].
    pub async fn recognise(&self, leaf: &[u8]) -> Result<ProvenDevice, ProofError> {
        let id = &certificate::device_id(leaf).ok_or(ProofError::NotCurrent)?;
        let device = self.directory.find(id).await?.ok_or(ProofError::NotCurrent)?;
        let certificate = self.current(id, leaf).await?.ok_or(ProofError::NotCurrent)?;
        match device.state {
            DeviceState::Enrolled => {}
            DeviceState::Quarantined => return Err(ProofError::Quarantined),
            DeviceState::Admitted | DeviceState::Retired => return Err(ProofError::NotCurrent),
        }
        let now = self.clock.now();
        let is_known = certificate.state == CertificateState::Active
            && device.last_connected_at.is_some_and(|at| now - at < CONTACT_INTERVAL);
        if is_known {
            return Ok(ProvenDevice { device, certificate });
        }
        let device = self.record(id, &certificate).await?;
        Ok(ProvenDevice { device, certificate })
    }

    /// Records why a certificate let nobody in. Whoever is shut out can come again and again, so the caller bounds how
    /// often.
    pub async fn record_refused(&self, leaf: &[u8], refused: &ProofError) -> Result<(), StoreError> {
        let reason = match refused {
            ProofError::NotCurrent => "certificate_not_current",
            ProofError::Quarantined => "quarantined",
            ProofError::OtherDevice => "device_mismatch",
            ProofError::Store(_) => return Ok(()),
        };
        match certificate::device_id(leaf) {
            Some(id) => self.refusals.record(&id, "device.refused", reason).await,
            None => Ok(()),
        }
    }

    async fn current(&self, id: &DeviceId, leaf: &[u8]) -> Result<Option<CertificateRecord>, StoreError> {
        let certificates = self.directory.certificates(id).await?;
        Ok(certificates.into_iter().find(|record| {
            let counts = matches!(record.state, CertificateState::Active | CertificateState::Pending);
            let is_this = |pem: &str| certificate::is_same(pem, leaf);
            counts && record.issued.as_ref().is_some_and(|issued| is_this(&issued.leaf_pem))
        }))
    }

    async fn record(&self, id: &DeviceId, certificate: &CertificateRecord) -> Result<Device, ProofError> {
        let recorded = self
            .registry
            .record_proof(id, certificate.intent.id, &self.told_later)
            .await;
        match recorded {
            Ok(device) => {
                if certificate.state == CertificateState::Pending {
                    tracing::info!(device.id = %id, "`{id}` uses its renewed certificate");
                }
                Ok(device)
            }
            // It was shut out or replaced a moment ago.
            Err(RegistryError::WrongState(DeviceState::Quarantined)) => Err(ProofError::Quarantined),
            Err(RegistryError::WrongState(_) | RegistryError::Unknown) => Err(ProofError::NotCurrent),
            Err(RegistryError::Store(error)) => Err(error.into()),
        }
    }
}

impl std::fmt::Debug for IdentityParts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("IdentityParts")
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Identities")
            .field("told_later", &self.told_later)
            .finish_non_exhaustive()
    }
}
