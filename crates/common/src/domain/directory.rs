use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use async_trait::async_trait;

use super::{
    CertificateRecord, Device, DeviceId, DeviceState, GroupName, LiveFacts, StoreError, UpdateStatus, WireguardKey,
};

/// What is shown of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// Its passport.
    pub device: Device,
    /// What the hub last saw of it.
    pub live: Option<LiveFacts>,
    /// Its current certificate, or the intent of one.
    pub certificate: Option<CertificateRecord>,
    /// How far its last update is; none when it never had one.
    pub update: Option<UpdateStatus>,
}

/// A device that belongs on the hub: as much as the hub has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkMember {
    /// Who.
    pub device_id: DeviceId,
    /// Its WireGuard public key.
    pub key: WireguardKey,
    /// Its address as stored.
    pub address: Ipv4Addr,
    /// Where its packets last came from, so that a hub that has lost everything can call it.
    pub endpoint: Option<SocketAddr>,
}

/// Which devices to show, in the order of their ids.
#[derive(Debug, Clone, Default)]
pub struct DeviceFilter {
    /// Only of these groups; none means all (admins).
    pub groups: Option<BTreeSet<GroupName>>,
    /// Only in this state.
    pub state: Option<DeviceState>,
    /// Only ids and names that contain this text.
    pub text: Option<String>,
    /// Only after this id: where the last page ended.
    pub after: Option<DeviceId>,
    /// At most so many (1 to 1000).
    pub limit: u16,
}

/// One page of devices.
#[derive(Debug, Clone, Default)]
pub struct DevicePage {
    /// The devices.
    pub views: Vec<DeviceView>,
    /// Where the next page starts; none when this is the last.
    pub next: Option<DeviceId>,
}

/// The list of devices, to read.
#[async_trait]
pub trait DeviceDirectory: Send + Sync + 'static {
    /// Finds a device.
    async fn find(&self, id: &DeviceId) -> Result<Option<Device>, StoreError>;

    /// Finds a device for somebody who is about to put something on record, when the records of others that are on
    /// their way are written; one look is for all who wait.
    async fn find_with_others(&self, id: &DeviceId) -> Result<Option<Device>, StoreError>;

    /// Finds a device with what is shown of it.
    async fn view(&self, id: &DeviceId) -> Result<Option<DeviceView>, StoreError>;

    /// Lists a page of devices.
    async fn list(&self, filter: &DeviceFilter) -> Result<DevicePage, StoreError>;

    /// Lists a device's certificates that have not ended, and the intents of some, oldest first.
    async fn certificates(&self, id: &DeviceId) -> Result<Vec<CertificateRecord>, StoreError>;

    /// Lists every device that belongs on the hub (it has an address, a key and a recorded certificate,
    /// and is admitted or enrolled); the reconciler's desired state.
    async fn vpn_members(&self) -> Result<Vec<NetworkMember>, StoreError>;

    /// Counts the devices that belong on the hub.
    async fn count_vpn_members(&self) -> Result<usize, StoreError>;

    /// Lists every WireGuard key that the device has and ever had.
    async fn wireguard_keys(&self, id: &DeviceId) -> Result<Vec<WireguardKey>, StoreError>;
}
