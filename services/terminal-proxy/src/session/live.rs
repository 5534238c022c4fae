//! A session from outside (what others may do with it) and from inside (its seat).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::domain::{DeviceId, Operator, SessionId, SessionRecord};
use tokio::io::{AsyncRead, AsyncWrite};

use super::line::Line;
use super::{Badge, Sessions};
use crate::access::Grant;
use crate::tap::OutputLog;

/// A byte stream to a browser.
pub(crate) trait BrowserStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> BrowserStream for T {}

/// The upgraded connection to a browser.
pub(crate) type Browser = Box<dyn BrowserStream>;

/// A person who comes back.
pub(super) struct Return {
    pub(super) browser: Browser,
    /// The number of the first byte of output that they have not seen.
    pub(super) offset: u64,
}

/// A session as it is on record, and as it is now where this process serves it.
#[derive(Debug)]
pub(crate) struct SessionSeen {
    pub(crate) record: SessionRecord,
    pub(crate) presence: Option<Presence>,
}

/// Who is at a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presence {
    /// Its person is there.
    pub(crate) is_attached: bool,
    /// Its person may come back to it.
    pub(crate) is_resumable: bool,
    /// Its person lets others type along.
    pub(crate) is_shared: bool,
    /// How many watch.
    pub(crate) watchers: usize,
}

impl Presence {
    /// At the beginning its person is there, and nobody else.
    pub(super) const BEGINNING: Self = Self {
        is_attached: true,
        is_resumable: false,
        is_shared: false,
        watchers: 0,
    };
}

/// A session that holds a seat, from its permit to the end of its record.
pub(super) struct Live {
    pub(super) operator: Operator,
    /// What they showed last.
    pub(super) badge: Badge,
    pub(super) device_id: DeviceId,
    pub(super) device_epoch: i64,
    /// Its beginning is on record.
    pub(super) is_on_record: bool,
    pub(super) presence: Presence,
    pub(super) line: Arc<Line>,
    pub(super) log: Arc<OutputLog>,
}

/// A seat; given back when it is dropped.
pub(crate) struct Seat {
    pub(super) id: SessionId,
    pub(super) sessions: Arc<Sessions>,
    pub(super) line: Arc<Line>,
    pub(super) log: Arc<OutputLog>,
}

impl Live {
    pub(super) fn new(grant: &Grant, badge: Badge, sessions: &Arc<Sessions>) -> (Self, Seat) {
        let line = Arc::new(Line::new(sessions.token_end(&grant.operator)));
        let log = Arc::new(OutputLog::new(sessions.rules.limits.resume_buffer_bytes));
        let session = Self {
            operator: grant.operator.clone(),
            badge,
            device_id: grant.device.id.clone(),
            device_epoch: grant.device.epoch,
            is_on_record: false,
            presence: Presence::BEGINNING,
            line: Arc::clone(&line),
            log: Arc::clone(&log),
        };
        let seat = Seat {
            id: grant.session_id,
            sessions: Arc::clone(sessions),
            line,
            log,
        };
        (session, seat)
    }
}

impl Live {
    pub(super) fn seen_now(&self) -> Presence {
        Presence {
            watchers: self.line.watchers.load(Ordering::Relaxed),
            ..self.presence
        }
    }
}

impl Seat {
    /// Changes what others see of the session.
    pub(super) fn change(&self, change: impl FnOnce(&mut Live)) {
        if let Some(live) = self.sessions.live().get_mut(self.id) {
            change(live);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.log.close();
        // Guests who wait for room wait no longer.
        drop(self.line.guests.close());
        self.sessions.live().give_back(self.id);
        self.sessions.metrics.live.dec();
    }
}
