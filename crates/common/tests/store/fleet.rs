//! A store with a clock, and short words for what scenarios do with it.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use common::domain::{
    Actor, Admission, AdmitError, Application, AuditFilter, AuditTrail, Clock, Device, DeviceDirectory, DeviceId,
    DeviceRegistry, DeviceView, Digest, EnrollmentTokens, GroupName, IdPattern, IssuedCertificate, Job, JobQueue,
    ManualClock, NewEnrollmentToken, NewSession, RegistryError, Retired, SessionId, System, Timestamp, TokenPurpose,
    VpnNetwork, WireguardPrivateKey,
};
use common::store::{Store, StoreOptions};

use super::databases::TestDatabase;

pub(crate) const LEASE: Duration = Duration::from_mins(1);
pub(crate) const SYSTEMS: [System; 2] = [System::Vpn, System::DevicePlatform];

pub(crate) struct Fleet<D> {
    pub(crate) database: D,
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
}

impl<D: TestDatabase> Fleet<D> {
    /// Opens a fresh database with room for 253 devices.
    pub(crate) async fn new() -> Self {
        Self::with_network("10.8.0.0/24").await
    }

    pub(crate) async fn with_network(prefix: &str) -> Self {
        let database = D::create().await;
        let clock = Arc::new(ManualClock::new(noon()));
        let store = Store::open(database.url(), StoreOptions::new("bridge-1"), clock.clone())
            .await
            .unwrap();
        store.ensure_pool(&network(prefix)).await.unwrap();
        Self { database, store, clock }
    }

    /// Verifies the invariants and removes the database.
    pub(crate) async fn end(self) {
        assert_eq!(self.store.check_invariants().await.unwrap(), Vec::<String>::new());
        self.end_broken().await;
    }

    /// Removes a database that a scenario broke.
    pub(crate) async fn end_broken(self) {
        self.store.close().await;
        self.database.remove().await;
    }

    /// Makes a token that enrolls any id, so often.
    pub(crate) async fn token(&self, quota: u32) -> Digest {
        self.token_for("*", TokenPurpose::Enroll, quota).await
    }

    pub(crate) async fn token_for(&self, pattern: &str, purpose: TokenPurpose, quota: u32) -> Digest {
        let token = NewEnrollmentToken {
            secret_hash: random_digest(),
            purpose,
            id_pattern: IdPattern::parse(pattern).unwrap(),
            group: GroupName::default(),
            quota,
            expires_at: self.clock.now() + Duration::from_hours(1),
        };
        self.store.create_token(&token, &Actor::Console).await.unwrap();
        token.secret_hash
    }

    /// Admits a device with a token of its own.
    pub(crate) async fn admit(&self, name: &str) -> Admission {
        let token = self.token_for(name, TokenPurpose::Enroll, 1).await;
        self.apply(name, &token, &application()).await.unwrap()
    }

    pub(crate) async fn apply(
        &self,
        name: &str,
        token: &Digest,
        application: &Application,
    ) -> Result<Admission, AdmitError> {
        self.store.admit(&id(name), token, application).await
    }

    /// Records a certificate for an admitted device and puts it into service.
    pub(crate) async fn finish(&self, admission: &Admission) -> Device {
        self.store
            .record_certificate(&admission.intent, &issued(self.clock.now()))
            .await
            .unwrap();
        self.store.mark_enrolled(&admission.device.id, &SYSTEMS).await.unwrap()
    }

    /// Brings a device into service.
    pub(crate) async fn enroll(&self, name: &str) -> Device {
        let admission = self.admit(name).await;
        self.finish(&admission).await
    }

    pub(crate) async fn mark_enrolled(&self, name: &str) -> Result<Device, RegistryError> {
        self.store.mark_enrolled(&id(name), &SYSTEMS).await
    }

    pub(crate) async fn retire(&self, name: &str) -> Result<Retired, RegistryError> {
        self.store.retire(&id(name), &admin(), &SYSTEMS).await
    }

    pub(crate) async fn quarantine(&self, name: &str) -> Result<Device, RegistryError> {
        self.store.quarantine(&id(name), &admin(), &SYSTEMS).await
    }

    pub(crate) async fn release(&self, name: &str) -> Result<Device, RegistryError> {
        self.store.release(&id(name), &admin(), &SYSTEMS).await
    }

    /// Allows a new enrollment within ten minutes.
    pub(crate) async fn allow(&self, name: &str) -> Result<(), RegistryError> {
        let until = self.clock.now() + Duration::from_mins(10);
        self.store.allow_reenroll(&id(name), &admin(), until).await
    }

    pub(crate) async fn find(&self, name: &str) -> Option<Device> {
        self.store.find(&id(name)).await.unwrap()
    }

    pub(crate) async fn view(&self, name: &str) -> DeviceView {
        self.store.view(&id(name)).await.unwrap().unwrap()
    }

    pub(crate) async fn jobs(&self) -> Vec<Job> {
        self.store.jobs(None).await.unwrap()
    }

    /// Takes the due order for the hub, if there is one.
    pub(crate) async fn claim_vpn(&self) -> Option<Job> {
        self.store.claim(System::Vpn, 1, LEASE).await.unwrap().pop()
    }

    /// How often the newest token was used.
    pub(crate) async fn used(&self) -> u32 {
        self.store.tokens().await.unwrap()[0].used
    }

    /// Lists what the audit trail says, oldest first.
    pub(crate) async fn actions(&self) -> Vec<String> {
        let records = self
            .store
            .audit(&AuditFilter {
                limit: 1000,
                ..AuditFilter::default()
            })
            .await
            .unwrap();
        records.into_iter().rev().map(|record| record.action).collect()
    }

    pub(crate) async fn last_detail(&self) -> serde_json::Value {
        let filter = AuditFilter {
            limit: 1,
            ..AuditFilter::default()
        };
        self.store.audit(&filter).await.unwrap().remove(0).detail
    }
}

pub(crate) fn noon() -> Timestamp {
    Timestamp::from_unix_timestamp(1_790_000_000).unwrap()
}

pub(crate) fn id(name: &str) -> DeviceId {
    DeviceId::parse(name).unwrap()
}

pub(crate) fn network(prefix: &str) -> VpnNetwork {
    VpnNetwork::new(prefix.parse().unwrap(), None).unwrap()
}

pub(crate) fn admin() -> Actor {
    Actor::Operator {
        subject: "b1946ac9".to_owned(),
        username: "ada".to_owned(),
    }
}

/// An application with keys that nobody ever had.
pub(crate) fn application() -> Application {
    let csr_der = random_digest().0.to_vec();
    Application {
        csr_digest: Digest::of(&csr_der),
        csr_der,
        key_digest: random_digest(),
        wireguard_key: WireguardPrivateKey::generate().public_key(),
        wireguard_key_is_ours: false,
        device_type: None,
        display_name: None,
    }
}

/// A certificate of 24 hours with a random serial.
pub(crate) fn issued(now: Timestamp) -> IssuedCertificate {
    IssuedCertificate {
        serial: random_digest().to_string(),
        leaf_pem: "leaf".to_owned(),
        ca_chain_pem: "intermediate root".to_owned(),
        intermediates: 1,
        not_before: now,
        not_after: now + Duration::from_hours(24),
    }
}

pub(crate) fn session_on(device: &Device) -> NewSession {
    NewSession {
        id: SessionId::generate(),
        device_id: device.id.clone(),
        device_epoch: device.epoch,
        subject: "b1946ac9".to_owned(),
        username: "ada".to_owned(),
        instance: "proxy-1".to_owned(),
        client_address: "192.0.2.7".to_owned(),
        recorded: true,
    }
}

pub(crate) fn random_digest() -> Digest {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).unwrap();
    Digest(bytes)
}
