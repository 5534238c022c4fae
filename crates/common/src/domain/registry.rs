use std::error::Error;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    Actor, Admission, AdmitError, Application, CertificateIntent, CertificateRecord, Device, DeviceId, DeviceState,
    Digest, GroupName, IssuedCertificate, LiveFacts, Renewal, ServiceEntry, System, Timestamp, VpnNetwork,
    WireguardKey,
};

/// The database failed us.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It did not answer, or refused; the same again may work later.
    #[error("the database did not answer")]
    Unavailable {
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It holds what no version of this program writes.
    #[error("the database holds an impossible value in {column}")]
    Corrupt {
        /// Where.
        column: &'static str,
    },
}

/// Why a change of a record is not made.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such record.
    #[error("there is no such record")]
    Unknown,
    /// The device's state does not allow it.
    #[error("a device that is {} cannot be changed like this", .0.as_str())]
    WrongState(DeviceState),
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a device is not decommissioned.
pub type RetireError = RegistryError;

/// What people change about a device; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceChanges {
    /// The fleet it belongs to, and with it who may see and open it.
    pub group: Option<GroupName>,
    /// What people call it.
    pub display_name: Option<String>,
    /// What kind of device it is.
    pub device_type: Option<String>,
    /// The systems that are ordered to be told.
    pub told: Vec<System>,
}

/// What decommissioning took out of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retired {
    /// The device as it is now.
    pub device: Device,
    /// Its certificates that are or may be alive: each has to be revoked.
    pub certificates: Vec<CertificateRecord>,
    /// Whether it was decommissioned before.
    pub repeated: bool,
}

/// The list of devices, to write. One method is one transaction, its audit record and its jobs included; the
/// database decides races.
#[async_trait]
pub trait DeviceRegistry: Send + Sync + 'static {
    /// Adds a network's addresses to the pool; repeatable.
    async fn ensure_pool(&self, network: &VpnNetwork) -> Result<(), StoreError>;

    /// Whether a token is good, and for this id when one is named. It spends nothing and records nothing: see
    /// [`Self::record_refused_token`].
    async fn check_token(&self, token: &Digest, id: Option<&DeviceId>) -> Result<(), AdmitError>;

    /// Counts at a token, if there is one, that it was refused, and records why. That something is away is no refusal.
    async fn record_refused_token(
        &self,
        token: &Digest,
        id: Option<&DeviceId>,
        refused: &AdmitError,
    ) -> Result<(), StoreError>;

    /// Counts a request at its token that was refused before it became an application, and records why: fixed words.
    async fn record_refusal(
        &self,
        id: Option<&DeviceId>,
        token: &Digest,
        reason: &'static str,
    ) -> Result<(), StoreError>;

    /// Decides an application that came with a token: token, keys, address and intent in one step. The same
    /// token with the same request again gets the same answer.
    async fn admit(&self, id: &DeviceId, token: &Digest, application: &Application) -> Result<Admission, AdmitError>;

    /// Decides a renewal by a device that is in service: its key and an intent beside the current certificate. The
    /// same request again gets the same answer until the new certificate is used; another one takes its place.
    async fn renew(&self, id: &DeviceId, renewal: &Renewal) -> Result<Admission, AdmitError>;

    /// Records that a device just proved to hold this certificate. A pending one becomes the active one, and
    /// `systems` are ordered to be told.
    async fn record_proof(&self, id: &DeviceId, certificate: Uuid, systems: &[System])
    -> Result<Device, RegistryError>;

    /// Gives a device in service another WireGuard key, which nobody ever had, and orders the hub to be told;
    /// repeatable. Only in place of a pair that the bridge made and nobody used, or once while an operator allows it.
    async fn replace_wireguard_key(&self, id: &DeviceId, key: WireguardKey) -> Result<Device, AdmitError>;

    /// Records a verified certificate: an enrollment's as the device's active one, a renewal's as pending;
    /// repeatable. The first one recorded for an intent stays, and is returned.
    async fn record_certificate(
        &self,
        intent: &CertificateIntent,
        issued: &IssuedCertificate,
    ) -> Result<IssuedCertificate, StoreError>;

    /// Records an enrollment's verified certificate as [`record_certificate`](Self::record_certificate) does and, when
    /// that was all that its device waited for, puts it into service as [`mark_enrolled`](Self::mark_enrolled) does, in
    /// one step; repeatable.
    async fn enter_service(
        &self,
        admission: &Admission,
        issued: &IssuedCertificate,
        systems: &[System],
    ) -> Result<ServiceEntry, StoreError>;

    /// Puts an admitted device with certificate and address into service, and orders `systems` to be told.
    async fn mark_enrolled(&self, id: &DeviceId, systems: &[System]) -> Result<Device, RegistryError>;

    /// Takes a device out of service for good: state, epoch, address to quarantine, keys kept for ever, and
    /// `systems` ordered to forget it; repeatable.
    async fn retire(&self, id: &DeviceId, by: &Actor, systems: &[System]) -> Result<Retired, RetireError>;

    /// Shuts a device out until it is released, and orders `systems` to do so; repeatable.
    async fn quarantine(&self, id: &DeviceId, by: &Actor, systems: &[System]) -> Result<Device, RegistryError>;

    /// Lets a device in quarantine back in, and orders `systems` to do so; repeatable.
    async fn release(&self, id: &DeviceId, by: &Actor, systems: &[System]) -> Result<Device, RegistryError>;

    /// Changes what people say of a device; repeatable.
    async fn describe(&self, id: &DeviceId, by: &Actor, changes: &DeviceChanges) -> Result<Device, RegistryError>;

    /// Allows a device to enroll once more with new keys until the given time.
    async fn allow_reenroll(&self, id: &DeviceId, by: &Actor, until: Timestamp) -> Result<(), RegistryError>;

    /// Records what the hub sees of devices; connect and disconnect become device events.
    async fn record_live(&self, facts: &[LiveFacts]) -> Result<(), StoreError>;
}
