//! The registry's methods: one transaction each.

use async_trait::async_trait;
use uuid::Uuid;

use super::transaction::in_transaction;
use super::{Store, addresses, admission, certificates, life, renewal};
use crate::domain::{
    Actor, Admission, AdmitError, Application, CertificateIntent, Device, DeviceId, DeviceRegistry, Digest,
    IssuedCertificate, LiveFacts, RegistryError, Renewal, RetireError, Retired, StoreError, System, Timestamp,
    VpnNetwork, WireguardKey,
};

#[async_trait]
impl DeviceRegistry for Store {
    async fn ensure_pool(&self, network: &VpnNetwork) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| addresses::ensure_pool(transaction, network)).await?;
        self.use_network(network);
        Ok(())
    }

    async fn check_token(&self, token: &Digest, id: Option<&DeviceId>) -> Result<(), AdmitError> {
        let mut snapshot = self.snapshot().await?;
        let verdict = admission::check_token(&mut snapshot, token, id).await.map(drop);
        drop(snapshot);
        if let Err(refusal) = &verdict
            && !matches!(refusal, AdmitError::Store(_))
        {
            self.refuse(id, token, refusal).await?;
        }
        verdict
    }

    async fn record_refusal(&self, id: &DeviceId, token: &Digest, reason: &'static str) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| admission::record_rejection(
            transaction,
            id,
            token,
            reason
        ))
        .await
    }

    async fn admit(&self, id: &DeviceId, token: &Digest, application: &Application) -> Result<Admission, AdmitError> {
        let networks = self.networks();
        let decision = in_transaction!(self, |transaction| admission::admit(
            transaction,
            &networks,
            id,
            token,
            application
        ))
        .await;
        // The refusal undid its own transaction, so its record needs another one.
        if let Err(refusal) = &decision
            && !matches!(refusal, AdmitError::Store(_))
        {
            self.refuse(Some(id), token, refusal).await?;
        }
        decision
    }

    async fn renew(&self, id: &DeviceId, request: &Renewal) -> Result<Admission, AdmitError> {
        in_transaction!(self, |transaction| renewal::renew(transaction, id, request)).await
    }

    async fn record_proof(
        &self,
        id: &DeviceId,
        certificate: Uuid,
        systems: &[System],
    ) -> Result<Device, RegistryError> {
        in_transaction!(self, |transaction| renewal::record_proof(
            transaction,
            id,
            certificate,
            systems
        ))
        .await
    }

    async fn replace_wireguard_key(&self, id: &DeviceId, key: WireguardKey) -> Result<Device, AdmitError> {
        in_transaction!(self, |transaction| renewal::replace_wireguard_key(transaction, id, key)).await
    }

    async fn record_certificate(
        &self,
        intent: &CertificateIntent,
        issued: &IssuedCertificate,
    ) -> Result<IssuedCertificate, StoreError> {
        in_transaction!(self, |transaction| certificates::issue(transaction, intent, issued)).await
    }

    async fn mark_enrolled(&self, id: &DeviceId, systems: &[System]) -> Result<Device, RegistryError> {
        in_transaction!(self, |transaction| life::mark_enrolled(transaction, id, systems)).await
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

    async fn allow_reenroll(&self, id: &DeviceId, by: &Actor, until: Timestamp) -> Result<(), RegistryError> {
        in_transaction!(self, |transaction| life::allow_reenroll(transaction, id, by, until)).await
    }

    async fn record_live(&self, facts: &[LiveFacts]) -> Result<(), StoreError> {
        self.record_live_facts(facts).await
    }
}

impl Store {
    async fn refuse(&self, id: Option<&DeviceId>, token: &Digest, refusal: &AdmitError) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| admission::record_refusal(
            transaction,
            id,
            token,
            refusal
        ))
        .await
    }
}
