//! The changes that come by the hundred when a fleet enrolls or renews: they share their commits.

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::admission::{self, Refusal};
use super::group_commit::Change;
use super::transaction::Transaction;
use super::{Networks, certificates, life, plain_admission, plain_service, renewal};
use crate::domain::{
    Admission, AdmitError, Application, CertificateIntent, Device, DeviceId, Digest, IssuedCertificate, RegistryError,
    Renewal, ServiceEntry, StoreError, System,
};

pub(super) struct Admit {
    pub(super) networks: Networks,
    pub(super) id: DeviceId,
    pub(super) secret: Digest,
    pub(super) application: Application,
}

#[async_trait]
impl Change for Admit {
    type Done = Admission;
    type Refused = AdmitError;

    async fn write(&self, transaction: &mut Transaction) -> Result<Admission, AdmitError> {
        admission::admit(transaction, &self.networks, &self.id, &self.secret, &self.application).await
    }

    async fn write_plain(
        transaction: &mut Transaction,
        changes: &[Arc<Self>],
    ) -> Result<Vec<Option<Admission>>, StoreError> {
        plain_admission::admit(transaction, changes).await
    }
}

pub(super) struct Refuse {
    pub(super) id: Option<DeviceId>,
    pub(super) secret: Digest,
    pub(super) refusal: Refusal,
}

#[async_trait]
impl Change for Refuse {
    type Done = ();
    type Refused = StoreError;

    async fn write(&self, transaction: &mut Transaction) -> Result<(), StoreError> {
        admission::record_refusal(transaction, self.id.as_ref(), &self.secret, self.refusal).await
    }
}

pub(super) struct RecordCertificate {
    pub(super) intent: CertificateIntent,
    pub(super) issued: IssuedCertificate,
}

#[async_trait]
impl Change for RecordCertificate {
    type Done = IssuedCertificate;
    type Refused = StoreError;

    async fn write(&self, transaction: &mut Transaction) -> Result<IssuedCertificate, StoreError> {
        certificates::issue(transaction, &self.intent, &self.issued).await
    }
}

/// A certificate and the entry into service that it is for.
pub(super) struct EnterService {
    pub(super) intent: CertificateIntent,
    /// The device's epoch when it was admitted.
    pub(super) epoch: i64,
    pub(super) issued: IssuedCertificate,
    pub(super) systems: Vec<System>,
}

#[async_trait]
impl Change for EnterService {
    type Done = ServiceEntry;
    type Refused = StoreError;

    async fn write(&self, transaction: &mut Transaction) -> Result<ServiceEntry, StoreError> {
        let certificate = certificates::issue(transaction, &self.intent, &self.issued).await?;
        // Something stood in the way of the plain entry, this device's or another's.
        let is_as_admitted = false;
        let entry = ServiceEntry {
            certificate,
            is_as_admitted,
        };
        match life::mark_enrolled(transaction, &self.intent.device_id, &self.systems).await {
            // Whoever shut the device out or admitted it anew keeps it from service, and not from its certificate.
            Ok(_) | Err(RegistryError::WrongState(_) | RegistryError::Unknown) => Ok(entry),
            Err(RegistryError::Store(error)) => Err(error),
        }
    }

    async fn write_plain(
        transaction: &mut Transaction,
        changes: &[Arc<Self>],
    ) -> Result<Vec<Option<ServiceEntry>>, StoreError> {
        plain_service::enter(transaction, changes).await
    }
}

pub(super) struct MarkEnrolled {
    pub(super) id: DeviceId,
    pub(super) systems: Vec<System>,
}

#[async_trait]
impl Change for MarkEnrolled {
    type Done = Device;
    type Refused = RegistryError;

    async fn write(&self, transaction: &mut Transaction) -> Result<Device, RegistryError> {
        life::mark_enrolled(transaction, &self.id, &self.systems).await
    }
}

pub(super) struct Renew {
    pub(super) id: DeviceId,
    pub(super) renewal: Renewal,
}

#[async_trait]
impl Change for Renew {
    type Done = Admission;
    type Refused = AdmitError;

    async fn write(&self, transaction: &mut Transaction) -> Result<Admission, AdmitError> {
        renewal::renew(transaction, &self.id, &self.renewal).await
    }
}

pub(super) struct RecordProof {
    pub(super) id: DeviceId,
    pub(super) certificate: Uuid,
    pub(super) systems: Vec<System>,
}

#[async_trait]
impl Change for RecordProof {
    type Done = Device;
    type Refused = RegistryError;

    async fn write(&self, transaction: &mut Transaction) -> Result<Device, RegistryError> {
        renewal::record_proof(transaction, &self.id, self.certificate, &self.systems).await
    }
}
