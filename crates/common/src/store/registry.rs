//! The registry's methods: one transaction each.

use async_trait::async_trait;
use uuid::Uuid;

use super::admission::{self, Refusal};
use super::changes::{Admit, EnterService, MarkEnrolled, RecordCertificate, RecordProof, Refuse, Renew};
use super::transaction::in_transaction;
use super::{Store, addresses, life, renewal};
use crate::domain::{
    Actor, Admission, AdmitError, Application, CertificateIntent, Device, DeviceChanges, DeviceId, DeviceRegistry,
    Digest, IssuedCertificate, LiveFacts, RegistryError, Renewal, RetireError, Retired, ServiceEntry, StoreError,
    System, Timestamp, VpnNetwork, WireguardKey,
};

#[async_trait]
impl DeviceRegistry for Store {
    async fn ensure_pool(&self, network: &VpnNetwork) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| addresses::ensure_pool(transaction, network)).await?;
        self.use_network(network);
        Ok(())
    }

    async fn check_token(&self, token: &Digest, id: Option<&DeviceId>) -> Result<(), AdmitError> {
        let known = self.token(token).await?;
        admission::judge_token(known, id, self.shared.clock.now()).map(drop)
    }

    async fn record_refused_token(
        &self,
        token: &Digest,
        id: Option<&DeviceId>,
        refused: &AdmitError,
    ) -> Result<(), StoreError> {
        if matches!(refused, AdmitError::Store(_)) {
            return Ok(());
        }
        self.refuse(id, token, Refusal::of(refused)).await
    }

    async fn record_refusal(
        &self,
        id: Option<&DeviceId>,
        token: &Digest,
        reason: &'static str,
    ) -> Result<(), StoreError> {
        self.refuse(id, token, Refusal::For(reason)).await
    }

    async fn admit(&self, id: &DeviceId, token: &Digest, application: &Application) -> Result<Admission, AdmitError> {
        let change = Admit {
            networks: self.networks(),
            id: id.clone(),
            secret: *token,
            application: application.clone(),
        };
        let decision = self.commit(change).await;
        // The refusal undid what it was about, so its record comes after.
        if let Err(refusal) = &decision {
            self.record_refused_token(token, Some(id), refusal).await?;
        }
        decision
    }

    async fn renew(&self, id: &DeviceId, request: &Renewal) -> Result<Admission, AdmitError> {
        let (id, renewal) = (id.clone(), request.clone());
        self.commit(Renew { id, renewal }).await
    }

    async fn record_proof(
        &self,
        id: &DeviceId,
        certificate: Uuid,
        systems: &[System],
    ) -> Result<Device, RegistryError> {
        let (id, systems) = (id.clone(), systems.to_vec());
        let change = RecordProof {
            id,
            certificate,
            systems,
        };
        self.commit(change).await
    }

    async fn replace_wireguard_key(&self, id: &DeviceId, key: WireguardKey) -> Result<Device, AdmitError> {
        in_transaction!(self, |transaction| renewal::replace_wireguard_key(transaction, id, key)).await
    }

    async fn record_certificate(
        &self,
        intent: &CertificateIntent,
        issued: &IssuedCertificate,
    ) -> Result<IssuedCertificate, StoreError> {
        let (intent, issued) = (intent.clone(), issued.clone());
        self.commit(RecordCertificate { intent, issued }).await
    }

    async fn enter_service(
        &self,
        admission: &Admission,
        issued: &IssuedCertificate,
        systems: &[System],
    ) -> Result<ServiceEntry, StoreError> {
        let change = EnterService {
            intent: admission.intent.clone(),
            epoch: admission.device.epoch,
            issued: issued.clone(),
            systems: systems.to_vec(),
        };
        self.commit(change).await
    }

    async fn mark_enrolled(&self, id: &DeviceId, systems: &[System]) -> Result<Device, RegistryError> {
        let (id, systems) = (id.clone(), systems.to_vec());
        self.commit(MarkEnrolled { id, systems }).await
    }

    async fn retire(&self, id: &DeviceId, by: &Actor, systems: &[System]) -> Result<Retired, RetireError> {
        let quarantine = self.shared.address_quarantine;
        in_transaction!(self, |transaction| life::retire(
            transaction,
            id,
            by,
            systems,
            quarantine
        ))
        .await
    }

    async fn quarantine(&self, id: &DeviceId, by: &Actor, systems: &[System]) -> Result<Device, RegistryError> {
        in_transaction!(self, |transaction| life::quarantine(transaction, id, by, systems)).await
    }

    async fn release(&self, id: &DeviceId, by: &Actor, systems: &[System]) -> Result<Device, RegistryError> {
        in_transaction!(self, |transaction| life::release(transaction, id, by, systems)).await
    }

    async fn describe(&self, id: &DeviceId, by: &Actor, changes: &DeviceChanges) -> Result<Device, RegistryError> {
        in_transaction!(self, |transaction| life::describe(transaction, id, by, changes)).await
    }

    async fn allow_reenroll(&self, id: &DeviceId, by: &Actor, until: Timestamp) -> Result<(), RegistryError> {
        in_transaction!(self, |transaction| life::allow_reenroll(transaction, id, by, until)).await
    }

    async fn record_live(&self, facts: &[LiveFacts]) -> Result<(), StoreError> {
        self.record_live_facts(facts).await
    }
}

impl Store {
    async fn refuse(&self, id: Option<&DeviceId>, token: &Digest, refusal: Refusal) -> Result<(), StoreError> {
        let (id, secret) = (id.cloned(), *token);
        self.commit(Refuse { id, secret, refusal }).await
    }
}
