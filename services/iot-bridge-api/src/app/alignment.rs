//! The one mechanism: bringing one system in line with what the database says of one device, now.
//!
//! What is to be done follows from the record as it is at this moment, not from the order that led here: an order
//! may be late, the record is not.

use std::sync::Arc;

use common::domain::{
    AdmitError, CertificateState, Device, DeviceDirectory, DeviceId, DeviceState, DeviceView, StoreError, System,
};

use super::enrollment::{EnrollError, Enrollment};
use super::neighbours::Neighbours;
use super::{Authority, Network};
use crate::ports::UpstreamError;

/// Brings systems in line.
pub struct Alignment {
    directory: Arc<dyn DeviceDirectory>,
    authority: Arc<Authority>,
    network: Arc<Network>,
    enrollment: Arc<Enrollment>,
    neighbours: Arc<Neighbours>,
}

/// What [`Alignment`] is built from.
pub struct AlignmentParts {
    /// Where devices are read.
    pub directory: Arc<dyn DeviceDirectory>,
    /// Who revokes.
    pub authority: Arc<Authority>,
    /// Where devices are members.
    pub network: Arc<Network>,
    /// Who finishes an enrollment that stopped half way.
    pub enrollment: Arc<Enrollment>,
    /// Who else knows devices.
    pub neighbours: Arc<Neighbours>,
}

/// What a system said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aligned {
    /// It knows the device as the database does.
    Ensured,
    /// It does not know the device any more.
    Removed,
    /// Every certificate is revoked.
    Revoked,
    /// There was nothing to do.
    Nothing,
}

impl Aligned {
    /// Returns the word that people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ensured => "ensured",
            Self::Removed => "removed",
            Self::Revoked => "revoked",
            Self::Nothing => "nothing-to-do",
        }
    }
}

/// Why a system is not in line.
#[derive(Debug, thiserror::Error)]
pub enum AlignError {
    /// The other system.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// Our own database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AlignError {
    /// Returns fixed words for the job's record.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Upstream(UpstreamError::Unavailable { .. }) => "did not answer",
            Self::Upstream(UpstreamError::Refused { .. }) => "refused",
            Self::Upstream(UpstreamError::Unexpected { .. }) => "gave an answer that is not believed",
            Self::Store(_) => "the database did not answer",
        }
    }
}

impl Alignment {
    /// Prepares the mechanism.
    pub fn new(parts: AlignmentParts) -> Self {
        let AlignmentParts {
            directory,
            authority,
            network,
            enrollment,
            neighbours,
        } = parts;
        Self {
            directory,
            authority,
            network,
            enrollment,
            neighbours,
        }
    }

    /// Brings one system in line for one device; repeatable.
    pub async fn align(&self, id: &DeviceId, system: System) -> Result<Aligned, AlignError> {
        let Some(view) = self.directory.view(id).await? else {
            return Ok(Aligned::Nothing);
        };
        match system {
            System::Vpn => self.align_network(&view).await,
            System::CertificateAuthority => self.align_authority(&view).await,
            System::DevicePlatform | System::UpdateServer | System::MetricsStore => {
                self.neighbours.align(system, &view).await
            }
        }
    }

    async fn align_network(&self, view: &DeviceView) -> Result<Aligned, AlignError> {
        let device = &view.device;
        let is_certified = view
            .certificate
            .as_ref()
            .is_some_and(|certificate| certificate.issued.is_some());
        match device.state {
            DeviceState::Admitted if is_certified => finish(self.enrollment.join(device).await.map(drop)),
            DeviceState::Enrolled => {
                let is_member = self.network.ensure_on_record(device, &*self.directory).await?;
                Ok(if is_member { Aligned::Ensured } else { Aligned::Removed })
            }
            // Who was admitted enrolls again: the keys that it had have no business on the hub any more.
            DeviceState::Admitted | DeviceState::Quarantined | DeviceState::Retired => {
                self.leave_network(&device.id).await
            }
        }
    }

    /// Takes every key that the device had off the hub, and of one that is shut out also the present one. The present
    /// key of any other is left to the reconciler: the device may have its certificate by now, and its place.
    async fn leave_network(&self, id: &DeviceId) -> Result<Aligned, AlignError> {
        let mut keys = self.directory.wireguard_keys(id).await?;
        // Looked at after the keys: no key that was replaced ever becomes the present one again.
        let device = self.directory.find(id).await?;
        let is_shut_out = |device: &Device| matches!(device.state, DeviceState::Quarantined | DeviceState::Retired);
        let present = device
            .filter(|device| !is_shut_out(device))
            .and_then(|device| device.wireguard_key);
        keys.retain(|key| Some(*key) != present);
        self.network.remove(&keys).await?;
        Ok(Aligned::Removed)
    }

    async fn align_authority(&self, view: &DeviceView) -> Result<Aligned, AlignError> {
        let revoked = self.revoke_what_was_taken_away(&view.device.id).await?;
        match (&view.device.state, &view.certificate) {
            (DeviceState::Admitted, Some(certificate)) if certificate.issued.is_none() => {
                finish(self.enrollment.certificate(&certificate.intent).await.map(drop))
            }
            (DeviceState::Retired, _) => Ok(Aligned::Revoked),
            _ if revoked > 0 => Ok(Aligned::Revoked),
            _ => Ok(Aligned::Nothing),
        }
    }

    /// Has every certificate revoked at the authority that is revoked on record; returns how many.
    async fn revoke_what_was_taken_away(&self, id: &DeviceId) -> Result<usize, AlignError> {
        let certificates = self.directory.certificates(id).await?;
        let revoked: Vec<_> = certificates
            .into_iter()
            .filter(|certificate| certificate.state == CertificateState::Revoked)
            .filter_map(|certificate| certificate.issued)
            .collect();
        for issued in &revoked {
            self.authority.revoke(&issued.serial).await?;
        }
        Ok(revoked.len())
    }
}

/// A step of an enrollment that the rules forbid by now is not a failure: somebody else decided.
fn finish(step: Result<(), EnrollError>) -> Result<Aligned, AlignError> {
    match step {
        Ok(()) => Ok(Aligned::Ensured),
        Err(EnrollError::Upstream(error)) => Err(error.into()),
        Err(EnrollError::Admit(AdmitError::Store(error))) => Err(error.into()),
        Err(
            EnrollError::Admit(_)
            | EnrollError::Csr(_)
            | EnrollError::LabelInvalid(_)
            | EnrollError::WireguardKeyInvalid,
        ) => Ok(Aligned::Nothing),
    }
}

impl std::fmt::Debug for Alignment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Alignment")
    }
}

impl std::fmt::Debug for AlignmentParts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("AlignmentParts")
    }
}
