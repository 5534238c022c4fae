//! The systems beside us that know devices too: the one that shows them to people, and the one that updates them.

use std::net::Ipv4Addr;

use async_trait::async_trait;
use common::domain::{DeviceId, DriftKind, GroupName, IssuedCertificate, Timestamp, UpdateReport, UpdateStatus};
use secrecy::SecretString;

use super::UpstreamError;

/// What a neighbour is told of a device in service; each tells its people what they need of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passport {
    /// Its name everywhere.
    pub id: DeviceId,
    /// What people call it.
    pub display_name: Option<String>,
    /// What kind of device it is.
    pub device_type: Option<String>,
    /// The fleet it belongs to.
    pub group: GroupName,
    /// Its address in the device network.
    pub address: Ipv4Addr,
    /// The certificate that it proves itself with now.
    pub certificate: IssuedCertificate,
    /// How far its last update is.
    pub update: Option<UpdateReport>,
}

/// A system with an entry for every device. Everything may be repeated.
#[async_trait]
pub trait Neighbour: Send + Sync + 'static {
    /// Makes it know the device as the passport does; what is so already is not touched.
    async fn ensure(&self, passport: &Passport) -> Result<(), UpstreamError>;

    /// Tells how its entry differs from the passport; nothing is changed.
    async fn differences(&self, passport: &Passport) -> Result<Vec<DriftKind>, UpstreamError>;

    /// Keeps the entry, if there is one, and believes nobody any more who claims to be the device.
    async fn shut_out(&self, id: &DeviceId) -> Result<(), UpstreamError>;

    /// Whether somebody could still get in as this device.
    async fn admits(&self, id: &DeviceId) -> Result<bool, UpstreamError>;

    /// Deletes the entry.
    async fn remove(&self, id: &DeviceId) -> Result<(), UpstreamError>;

    /// Lists the names of all entries, ours and others'.
    async fn names(&self) -> Result<Vec<String>, UpstreamError>;
}

/// Shows devices to people.
#[async_trait]
pub trait DevicePlatform: Neighbour {
    /// Adds the steps of updates to what a device reported, at their own times; the same step again changes nothing.
    async fn publish(&self, id: &DeviceId, steps: &[UpdateReport]) -> Result<(), UpstreamError>;
}

/// A page of what changed at the update server, in the order of its clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangePage {
    /// What is about devices, as far as it can be read.
    pub reports: Vec<UpdateReport>,
    /// When the last change of the page was made; none when the page is empty.
    pub last_changed_at: Option<Timestamp>,
    /// How many changes are on it.
    pub length: usize,
    /// Whether there may be more.
    pub has_more: bool,
}

/// Updates devices.
#[async_trait]
pub trait UpdateServer: Neighbour {
    /// Returns a page of changes at or after a time, by its own clock; `skip` leaves out as many of the first ones.
    async fn changes(&self, since: Timestamp, skip: usize) -> Result<ChangePage, UpstreamError>;

    /// Returns what one of its words for a status means; none when it has no such word.
    fn status(&self, word: &str) -> Option<UpdateStatus>;

    /// Returns the secret with which a device fetches its updates; none when the device is unknown there.
    async fn credential(&self, id: &DeviceId) -> Result<Option<SecretString>, UpstreamError>;
}
