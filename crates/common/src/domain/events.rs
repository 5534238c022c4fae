use async_trait::async_trait;

use super::{DeviceId, Digest, StoreError, System, Timestamp};

/// What the device platform saw of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlatformEventKind {
    /// It connected.
    Connected,
    /// Its last connection ended.
    Disconnected,
    /// Its entry was made.
    Created,
    /// Its entry was deleted.
    Deleted,
}

impl PlatformEventKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Connected, Self::Disconnected, Self::Created, Self::Deleted];

    /// Returns the stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Created => "created",
            Self::Deleted => "deleted",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One fact, as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformEvent {
    /// Tells this delivery from any other; the same again is a duplicate.
    pub digest: Digest,
    /// Of which device, or of what calls itself so.
    pub device_id: DeviceId,
    /// What happened.
    pub kind: PlatformEventKind,
    /// When it happened there.
    pub happened_at: Timestamp,
}

/// Who has to be told when a fact becomes known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventOrders {
    /// About a device in service.
    pub in_service: Vec<System>,
    /// About a device that is shut out or decommissioned.
    pub shut_out: Vec<System>,
}

/// What became of a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventOutcome {
    /// It is on record, and so are the orders that follow.
    Recorded,
    /// It is on record; no device of ours is called so, or it is not in service yet.
    NobodyOfOurs,
    /// It was on record before; nothing changed.
    Duplicate,
}

/// The facts that others tell us. Their order and their repetition change nothing.
#[async_trait]
pub trait EventInbox: Send + Sync + 'static {
    /// Records a fact and the orders that follow, in one transaction. A device's last connection only moves forward.
    async fn record_event(&self, event: &PlatformEvent, orders: &EventOrders) -> Result<EventOutcome, StoreError>;

    /// Forgets facts and reports of updates that were recorded before this time and that nobody waits for; returns
    /// how many.
    async fn forget_before(&self, time: Timestamp) -> Result<u64, StoreError>;
}
