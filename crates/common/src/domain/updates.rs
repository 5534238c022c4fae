use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{DeviceId, StoreError, System, Timestamp};

/// How far an update of a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateStatus {
    /// Ordered, not begun.
    Waiting,
    /// The device is at work.
    Running,
    /// Done.
    Finished,
    /// Not done, and the device gave up.
    Failed,
    /// Called off.
    Canceled,
}

impl UpdateStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Running,
        Self::Finished,
        Self::Failed,
        Self::Canceled,
    ];

    /// Returns the stored form, which is also what people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// One step of one update, as the update server knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateReport {
    /// The update server's number of the update.
    pub action_id: i64,
    /// Of which device.
    pub device_id: DeviceId,
    /// How far it is.
    pub status: UpdateStatus,
    /// What is installed, in the update server's words.
    pub subject: Option<String>,
    /// When it came to this, by the update server's clock.
    pub changed_at: Timestamp,
}

/// What is on record of a device's updates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateHistory {
    /// The newest step.
    pub latest: Option<UpdateReport>,
    /// The steps that the device platform was not told yet, oldest first, at most 100.
    pub untold: Vec<UpdateReport>,
}

/// The steps of updates, and how far they were read at the update server.
#[async_trait]
pub trait UpdateLedger: Send + Sync + 'static {
    /// Returns up to which change, by the update server's clock, everything is on record.
    async fn update_cursor(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Records steps, moves the cursor forward when one is given, and orders `systems` to be told: one transaction.
    /// Steps of unknown devices, known steps, and steps that bring an update nothing new are left out; returns how
    /// many were recorded.
    async fn record_updates(
        &self,
        reports: &[UpdateReport],
        cursor: Option<Timestamp>,
        systems: &[System],
    ) -> Result<usize, StoreError>;

    /// Returns what is on record of a device's updates.
    async fn updates_of(&self, id: &DeviceId) -> Result<UpdateHistory, StoreError>;

    /// The device platform knows these steps now.
    async fn mark_told(&self, reports: &[UpdateReport]) -> Result<(), StoreError>;
}
