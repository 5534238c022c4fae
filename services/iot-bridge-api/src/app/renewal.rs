//! How a device gets its next certificate: two phases, so that no power cut leaves it without one.
//!
//! The new certificate is on record beside the current one and takes its place when it is used first; see
//! [`Identities`](super::identity::Identities).

use std::sync::Arc;
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{
    Admission, AuditTrail, CertificateIntent, CertificateState, Clock, DeviceDirectory, DeviceId, DeviceRegistry,
    DeviceState, IssuedCertificate, Renewal, System, Timestamp,
};

use super::Authority;
use super::csr::CsrRejection;
use super::enrollment::{COME_BACK_AFTER, EnrollError};
use super::identity::ProvenDevice;
use super::refusals::{Refusals, overtaken, reason};
use super::turns::{PATIENCE, Turns};
use crate::ports::UpstreamError;

/// How a renewal went on.
#[derive(Debug)]
pub enum RenewalOutcome {
    /// Here it is.
    Renewed(Box<Renewed>),
    /// The intent is on record, the authority is away; the same request again fetches the result.
    Waiting {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// What a renewing device is told.
#[derive(Debug)]
pub struct Renewed {
    /// Who it is.
    pub device_id: DeviceId,
    /// Its next certificate and the chain up to the root.
    pub certificate: IssuedCertificate,
    /// Whether it was told before.
    pub repeated: bool,
    /// Our time, for devices without a clock.
    pub server_time: Timestamp,
}

/// Renews certificates.
pub struct Renewals {
    directory: Arc<dyn DeviceDirectory>,
    registry: Arc<dyn DeviceRegistry>,
    authority: Arc<Authority>,
    clock: Arc<dyn Clock>,
    refusals: Refusals,
    turns: Turns,
}

impl Renewals {
    /// Prepares renewal.
    pub fn new(
        directory: Arc<dyn DeviceDirectory>,
        registry: Arc<dyn DeviceRegistry>,
        audit: Arc<dyn AuditTrail>,
        authority: Arc<Authority>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            directory,
            registry,
            authority,
            clock,
            refusals: Refusals::new(audit),
            turns: Turns::default(),
        }
    }

    /// Renews the certificate of a device that proved who it is, or goes on where the same request stopped. The CSR comes
    /// in PEM, or as what kept it from being read.
    pub async fn renew(
        &self,
        device: &ProvenDevice,
        csr: Result<&str, CsrRejection>,
    ) -> Result<RenewalOutcome, EnrollError> {
        let outcome = self.decide(device, csr).await;
        if let Some(reason) = outcome.as_ref().err().and_then(reason) {
            let id = &device.device.id;
            self.refusals.record(id, "certificate.renewal_refused", reason).await?;
        }
        outcome
    }

    async fn decide(
        &self,
        device: &ProvenDevice,
        csr: Result<&str, CsrRejection>,
    ) -> Result<RenewalOutcome, EnrollError> {
        let id = &device.device.id;
        let accepted = self.authority.accept(id, csr?).await?;
        let renewal = Renewal {
            csr_der: accepted.der,
            csr_digest: accepted.digest,
            key_digest: accepted.key_digest,
        };
        let Some(_turn) = self.turns.wait(id, PATIENCE).await else {
            return Ok(waiting());
        };
        let admission = self.registry.renew(id, &renewal).await?;
        match self.certificate(admission).await {
            Ok(renewed) => Ok(RenewalOutcome::Renewed(Box::new(renewed))),
            Err(EnrollError::Upstream(UpstreamError::Unavailable { source, .. })) => {
                let (system, error) = (System::CertificateAuthority, error_chain(source.as_ref()));
                tracing::warn!(device.id = %id, error, "`{id}` waits for {}", system.as_str());
                Ok(waiting())
            }
            Err(error) => Err(error),
        }
    }

    async fn certificate(&self, admission: Admission) -> Result<Renewed, EnrollError> {
        let intent = admission.intent;
        let certificate = if let Some(issued) = admission.issued {
            issued
        } else {
            let issued = self.authority.issue(&intent).await.map_err(EnrollError::Upstream)?;
            let recorded = self.registry.record_certificate(&intent, &issued).await?;
            self.settle(&intent).await?;
            recorded
        };
        tracing::info!(device.id = %intent.device_id, certificate.serial = certificate.serial, "Renewed `{}`", intent.device_id);
        Ok(Renewed {
            device_id: intent.device_id,
            certificate,
            repeated: admission.repeated,
            server_time: self.clock.now(),
        })
    }

    /// Makes sure that the device is still in service, and that what was signed for it is still to be its next
    /// certificate: whoever shut it out while the authority was asked has taken it back.
    async fn settle(&self, intent: &CertificateIntent) -> Result<(), EnrollError> {
        let certificates = self.directory.certificates(&intent.device_id).await?;
        let is_kept = certificates.iter().any(|record| {
            let counts = matches!(record.state, CertificateState::Active | CertificateState::Pending);
            record.intent.id == intent.id && counts
        });
        let device = self.directory.find(&intent.device_id).await?;
        let state = device.map(|device| device.state);
        if is_kept && state == Some(DeviceState::Enrolled) {
            Ok(())
        } else {
            Err(overtaken(state).into())
        }
    }
}

impl std::fmt::Debug for Renewals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Renewals")
    }
}

fn waiting() -> RenewalOutcome {
    RenewalOutcome::Waiting {
        retry_after: COME_BACK_AFTER,
    }
}
