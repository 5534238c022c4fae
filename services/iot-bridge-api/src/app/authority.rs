//! The certificate authority as the use cases see it: with a deadline, and believed only after a check.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{CertificateIntent, Clock, DeviceId, Digest, IssuedCertificate, System};

use super::blocked_keys::BlockedKeys;
use super::certificate::{self, Believer};
use super::csr::{self, AcceptedCsr, CsrRejection};
use crate::kill_points::{KillPoint, reach};
use crate::ports::{CertificateAuthority, SignedChain, UpstreamError};

/// What the authority gets for one answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// A request of up to so many bytes of PEM has a key on a curve, or none: it is checked in less time than it takes to
/// hand it to another thread and back. RSA needs more.
const SHORT_CSR: usize = 700;

/// Has certificates signed and checks what comes back.
pub struct Authority {
    ca: Arc<dyn CertificateAuthority>,
    clock: Arc<dyn Clock>,
    blocked: BlockedKeys,
    believer: Believer,
}

impl Authority {
    /// Puts the check in front of an authority.
    pub fn new(ca: Arc<dyn CertificateAuthority>, clock: Arc<dyn Clock>, blocked: BlockedKeys) -> Self {
        Self {
            ca,
            clock,
            blocked,
            believer: Believer::default(),
        }
    }

    /// Applies the CSR rules, a long request's off the threads that serve requests. A key of the authority's own, or
    /// one on the operator's list, is none for a device.
    pub(super) async fn accept(&self, id: &DeviceId, pem: &str) -> Result<AcceptedCsr, CsrRejection> {
        let accepted = if pem.len() <= SHORT_CSR {
            csr::accept(id, pem)?
        } else {
            let (id, pem) = (id.clone(), pem.to_owned());
            tokio::task::spawn_blocking(move || csr::accept(&id, &pem))
                .await
                .expect("the CSR rules neither panic nor are cancelled")?
        };
        // An authority that is away blocks nothing here: it cannot sign such a key either, and is asked before it does.
        match self.is_blocked(&accepted.key_digest).await {
            Ok(true) => Err(CsrRejection::KeyBlocked),
            Ok(false) | Err(_) => Ok(accepted),
        }
    }

    /// Has an intent signed. What is returned is what was asked for, up to a pinned root.
    pub(super) async fn issue(&self, intent: &CertificateIntent) -> Result<IssuedCertificate, UpstreamError> {
        let chain = within_deadline(self.sign(intent)).await?;
        reach(KillPoint::K4).await;
        let roots = self.roots().await?;
        let believed = self.believer.verify(intent, &chain, &roots, self.clock.now());
        believed.map_err(|error| {
            tracing::error!(device.id = %intent.device_id, %error, "The authority signed something else than it was asked");
            UpstreamError::unexpected(System::CertificateAuthority, error)
        })
    }

    /// Takes a certificate back.
    pub(super) async fn revoke(&self, serial: &str) -> Result<(), UpstreamError> {
        within_deadline(self.ca.revoke(serial)).await
    }

    /// Returns the pinned roots, PEM.
    pub async fn roots(&self) -> Result<String, UpstreamError> {
        within_deadline(self.ca.roots()).await
    }

    /// Returns the certificates between the pinned roots and what is signed now, PEM; those that lead to no root are left
    /// out.
    pub async fn intermediates(&self) -> Result<String, UpstreamError> {
        let (roots, intermediates) = (self.roots().await?, within_deadline(self.ca.intermediates()).await?);
        certificate::intermediates(&intermediates, &roots, self.clock.now())
            .map_err(|error| UpstreamError::unexpected(System::CertificateAuthority, error))
    }

    /// Returns the revocation list, DER.
    pub async fn crl(&self) -> Result<Option<Vec<u8>>, UpstreamError> {
        within_deadline(self.ca.crl()).await
    }

    /// Asks whether it could sign now.
    pub async fn health(&self) -> Result<(), UpstreamError> {
        within_deadline(self.ca.health()).await
    }

    /// Asks for a signature. The request may have been accepted when the authority was away, or by an older list.
    async fn sign(&self, intent: &CertificateIntent) -> Result<SignedChain, UpstreamError> {
        if self.is_blocked(&intent.key_digest).await? {
            let error = CsrRejection::KeyBlocked;
            return Err(UpstreamError::refused(System::CertificateAuthority, error));
        }
        self.ca.sign(intent).await
    }

    /// Whether no device may have a key: it is the authority's own, or on the operator's list.
    async fn is_blocked(&self, key: &Digest) -> Result<bool, UpstreamError> {
        Ok(self.blocked.contains(key) || within_deadline(self.ca.own_keys()).await?.contains(key))
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Authority")
    }
}

async fn within_deadline<T>(answer: impl Future<Output = Result<T, UpstreamError>>) -> Result<T, UpstreamError> {
    let answer = tokio::time::timeout(DEADLINE, answer).await;
    answer.unwrap_or_else(|elapsed| Err(UpstreamError::unavailable(System::CertificateAuthority, elapsed)))
}
