use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Actor, DeviceId, RegistryError, StoreError, Timestamp};

/// A system that is brought in line with the database, by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    /// Signs and revokes certificates.
    CertificateAuthority,
    /// The hub of the device network.
    Vpn,
    /// Shows devices to people.
    DevicePlatform,
    /// Updates devices.
    UpdateServer,
    /// Stores their metrics.
    MetricsStore,
}

impl System {
    /// Every system.
    pub const ALL: [Self; 5] = [
        Self::CertificateAuthority,
        Self::Vpn,
        Self::DevicePlatform,
        Self::UpdateServer,
        Self::MetricsStore,
    ];

    /// Returns the stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CertificateAuthority => "certificate_authority",
            Self::Vpn => "vpn",
            Self::DevicePlatform => "device_platform",
            Self::UpdateServer => "update_server",
            Self::MetricsStore => "metrics_store",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|system| system.as_str() == text)
    }
}

/// What is to be done in a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobAction {
    /// Make it know the device as the database does.
    Ensure,
    /// Make it forget the device.
    Remove,
}

impl JobAction {
    /// Returns the stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ensure => "ensure",
            Self::Remove => "remove",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ensure, Self::Remove]
            .into_iter()
            .find(|action| action.as_str() == text)
    }
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its time, or is being done under a lease.
    Pending,
    /// Given up after too long; a person looks at it and retries.
    Dead,
}

impl JobState {
    /// Returns the stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dead => "dead",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// The standing order to bring one system in line for one device. There is at most one for each pair: a
/// newer order takes the older one's place, and an order that was carried out is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id (`UUIDv7`).
    pub id: Uuid,
    /// For which device.
    pub device_id: DeviceId,
    /// In which system.
    pub system: System,
    /// What to do.
    pub action: JobAction,
    /// Where it is.
    pub state: JobState,
    /// Grows when a newer order takes its place; finishing an older generation changes nothing.
    pub generation: i64,
    /// How often it was tried.
    pub attempts: i32,
    /// How many of the tries were refused.
    pub refusals: i32,
    /// When it was ordered.
    pub created_at: Timestamp,
    /// Not before.
    pub next_attempt_at: Timestamp,
    /// Why the last try failed; fixed words, no secret.
    pub last_error: Option<String>,
}

/// How many jobs of one kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobCount {
    /// For which system.
    pub system: System,
    /// Where they are.
    pub state: JobState,
    /// How many.
    pub count: i64,
    /// When the oldest was ordered.
    pub oldest: Timestamp,
}

/// The durable orders. They are placed by the registry, in the transaction that makes them necessary.
///
/// That one was taken, carried out or failed is not durable by itself: when the database's machine loses its last
/// moment, the order stands as it stood before, and is carried out once more, which changes nothing.
#[async_trait]
pub trait JobQueue: Send + Sync + 'static {
    /// Takes due jobs of a system, oldest first, at most `limit`; nobody else gets them for `lease`.
    async fn claim(&self, system: System, limit: u16, lease: Duration) -> Result<Vec<Job>, StoreError>;

    /// Makes the jobs due again that this process took before it died; for its start. Returns how many.
    async fn take_back(&self) -> Result<u64, StoreError>;

    /// Orders what is missing of enrollments that began before this moment and stopped half way, because a process died
    /// or the device went away: certificate, then membership. Returns for how many devices.
    async fn resume_enrollments(&self, begun_before: Timestamp) -> Result<usize, StoreError>;

    /// The orders were carried out: each goes, unless a newer one took its place.
    async fn complete(&self, jobs: &[Job]) -> Result<(), StoreError>;

    /// The try failed, refused so often as the job says: it is due again at `next_attempt_at`, or dead when that is
    /// none.
    async fn postpone(&self, job: &Job, error: &str, next_attempt_at: Option<Timestamp>) -> Result<(), StoreError>;

    /// Lists jobs, oldest first, at most 1000.
    async fn jobs(&self, state: Option<JobState>) -> Result<Vec<Job>, StoreError>;

    /// Lists a device's pending jobs.
    async fn jobs_of(&self, device: &DeviceId) -> Result<Vec<Job>, StoreError>;

    /// Counts all jobs.
    async fn count_jobs(&self) -> Result<Vec<JobCount>, StoreError>;

    /// Makes a job due at once, also a dead one, which has all its time again, and records who did.
    /// `RegistryError::Unknown` when there is none of this id.
    async fn retry(&self, id: Uuid, by: &Actor) -> Result<(), RegistryError>;

    /// A system is back: its jobs are due at once, also the dead ones; returns how many.
    async fn hasten(&self, system: System) -> Result<u64, StoreError>;
}
