//! Who watches a session, seen from the session.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::domain::{Actor, AuditEvent, DeviceId, Operator, RegistryError, SessionId, StoreError};

use super::Sessions;
use super::line::Line;
use crate::tap::OutputLog;

/// Most watchers of one session.
const MAX_WATCHERS: usize = 16;

/// A session that may be watched.
pub(crate) struct Watched {
    id: SessionId,
    pub(crate) device_id: DeviceId,
    sessions: Arc<Sessions>,
    log: Arc<OutputLog>,
    line: Arc<Line>,
}

/// A watcher's place; given back when it is dropped.
pub(crate) struct Place {
    watched: Watched,
}

impl Sessions {
    /// Finds a session of this process.
    pub(crate) fn watched(self: &Arc<Self>, id: SessionId) -> Option<Watched> {
        let live = self.live();
        let session = live.get(id)?;
        Some(Watched {
            id,
            device_id: session.device_id.clone(),
            sessions: Arc::clone(self),
            log: Arc::clone(&session.log),
            line: Arc::clone(&session.line),
        })
    }

    /// Whether a session is open and another process serves it.
    pub(crate) async fn is_elsewhere(&self, id: SessionId) -> Result<bool, StoreError> {
        let record = self.ports.ledger.session(id).await?;
        Ok(record.is_some_and(|record| record.closed_at.is_none() && record.session.instance != self.rules.instance))
    }

    /// Lets others type along in one's own session, or not any more.
    pub(crate) async fn share(&self, person: &Operator, id: SessionId, is_shared: bool) -> Result<(), RegistryError> {
        let device_id = {
            let live = self.live();
            let own = live.get(id).filter(|live| live.operator.subject == person.subject);
            own.map(|live| live.device_id.clone()).ok_or(RegistryError::Unknown)?
        };
        let event = AuditEvent {
            actor: Actor::from(person),
            action: if is_shared {
                "session.shared"
            } else {
                "session.unshared"
            },
            device_id: Some(device_id),
            detail: serde_json::json!({ "session": id }),
        };
        self.ports.audit.record(&event).await?;
        let mut live = self.live();
        live.get_mut(id).ok_or(RegistryError::Unknown)?.presence.is_shared = is_shared;
        Ok(())
    }
}

impl Watched {
    pub(crate) fn is_shared(&self) -> bool {
        let live = self.sessions.live();
        live.get(self.id).is_some_and(|live| live.presence.is_shared)
    }

    /// Takes a place, if there is one.
    pub(crate) fn take_place(self) -> Option<Place> {
        let taken = self.line.watchers.fetch_add(1, Ordering::Relaxed);
        let place = Place { watched: self };
        place.watched.log.keep();
        (taken < MAX_WATCHERS).then_some(place)
    }
}

impl Place {
    pub(crate) fn log(&self) -> &OutputLog {
        &self.watched.log
    }

    /// Waits until the process is about to stop.
    pub(crate) async fn drained(&self) {
        self.watched.sessions.rules.drain.cancelled().await;
    }

    /// Passes keys on while the session's person is there and lets others type along.
    pub(crate) async fn pass_keys(&self, message: &[u8]) {
        let may_type = {
            let live = self.watched.sessions.live();
            live.get(self.watched.id)
                .is_some_and(|live| live.presence.is_shared && live.presence.is_attached)
        };
        if may_type {
            // An error means that the session ends at this moment.
            self.watched
                .line
                .guests
                .send(message.to_vec())
                .await
                .map_or_else(drop, drop);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.watched.line.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
