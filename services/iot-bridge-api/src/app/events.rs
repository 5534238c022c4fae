//! What others tell us of devices: recorded with the orders that follow, and nothing else. The orders do the work.

use std::sync::Arc;

use common::domain::{
    Clock, DeviceId, Digest, EventInbox, EventOrders, EventOutcome, PlatformEvent, PlatformEventKind, StoreError,
    System, Timestamp,
};

/// How far a time of the device platform may be ahead of ours; what is further ahead counts as now.
const TOLERATED_SKEW: time::Duration = time::Duration::minutes(5);

/// Takes facts in.
pub struct Events {
    inbox: Arc<dyn EventInbox>,
    clock: Arc<dyn Clock>,
    systems: Vec<System>,
}

/// A fact as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedEvent {
    /// Tells it from any other.
    pub digest: Digest,
    /// What the device calls itself.
    pub device_id: DeviceId,
    /// What happened.
    pub kind: PlatformEventKind,
    /// When, if it said so.
    pub happened_at: Option<Timestamp>,
}

impl Events {
    /// Takes facts in, and has these systems told, the ones that are configured.
    pub fn new(inbox: Arc<dyn EventInbox>, clock: Arc<dyn Clock>, systems: Vec<System>) -> Self {
        Self { inbox, clock, systems }
    }

    /// Records a fact; when this returns it is durable.
    pub async fn record(&self, reported: ReportedEvent) -> Result<EventOutcome, StoreError> {
        let now = self.clock.now();
        let happened_at = reported.happened_at.filter(|at| *at <= now + TOLERATED_SKEW);
        let event = PlatformEvent {
            digest: reported.digest,
            device_id: reported.device_id,
            kind: reported.kind,
            happened_at: happened_at.unwrap_or(now),
        };
        self.inbox.record_event(&event, &self.orders(event.kind)).await
    }

    /// A device that connects has to be known to the update server. An entry that somebody else made or deleted is
    /// looked at. Whoever is shut out and turns up is shut out again.
    fn orders(&self, kind: PlatformEventKind) -> EventOrders {
        use System::{DevicePlatform, UpdateServer};
        let (in_service, shut_out): (&[System], &[System]) = match kind {
            PlatformEventKind::Connected => (&[UpdateServer], &[DevicePlatform, UpdateServer]),
            PlatformEventKind::Created => (&[DevicePlatform], &[DevicePlatform]),
            PlatformEventKind::Deleted => (&[DevicePlatform], &[]),
            PlatformEventKind::Disconnected => (&[], &[]),
        };
        let configured = |wanted: &[System]| {
            let known = |system: &&System| self.systems.contains(system);
            wanted.iter().filter(known).copied().collect()
        };
        EventOrders {
            in_service: configured(in_service),
            shut_out: configured(shut_out),
        }
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Events").field(&self.systems).finish()
    }
}
