//! A session from outside (what others may do with it) and from inside (its seat).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::domain::{DeviceId, Operator, SessionId, SessionRecord};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::{Ending, Sessions};
use crate::access::Grant;
use crate::tap::OutputLog;

/// Messages of guests that wait for the device; more, and the guests wait.
const MAX_GUEST_MESSAGES: usize = 16;

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
    pub(super) device_id: DeviceId,
    pub(super) device_epoch: i64,
    /// Its beginning is on record.
    pub(super) is_on_record: bool,
    pub(super) presence: Presence,
    /// Tells it to end; none once it was told.
    pub(super) stop: Option<oneshot::Sender<Ending>>,
    /// When the token behind it ends.
    pub(super) token_ends: watch::Sender<Instant>,
    pub(super) returns: mpsc::Sender<Return>,
    pub(super) guests: mpsc::Sender<Vec<u8>>,
    pub(super) log: Arc<OutputLog>,
    /// How many watch.
    pub(super) watchers: Arc<AtomicUsize>,
}

/// A seat; given back when it is dropped.
pub(crate) struct Seat {
    pub(super) id: SessionId,
    pub(super) sessions: Arc<Sessions>,
    /// What others may do; none once the session runs.
    pub(super) ears: Option<Ears>,
    pub(super) guests: mpsc::Receiver<Vec<u8>>,
    pub(super) log: Arc<OutputLog>,
}

/// What a session hears from outside.
pub(super) struct Ears {
    pub(super) stopped: oneshot::Receiver<Ending>,
    pub(super) token_ends: watch::Receiver<Instant>,
    pub(super) returns: mpsc::Receiver<Return>,
}

impl Live {
    pub(super) fn new(grant: &Grant, sessions: &Arc<Sessions>) -> (Self, Seat) {
        let (stop, stopped) = oneshot::channel();
        let (token_ends, token_ends_for_session) = watch::channel(sessions.token_end(&grant.operator));
        let (returns, returning) = mpsc::channel(1);
        let (guests, guests_for_session) = mpsc::channel(MAX_GUEST_MESSAGES);
        let log = Arc::new(OutputLog::new(sessions.rules.limits.resume_buffer_bytes));
        let live = Self {
            operator: grant.operator.clone(),
            device_id: grant.device.id.clone(),
            device_epoch: grant.device.epoch,
            is_on_record: false,
            presence: Presence::BEGINNING,
            stop: Some(stop),
            token_ends,
            returns,
            guests,
            log: Arc::clone(&log),
            watchers: Arc::default(),
        };
        let seat = Seat {
            id: grant.session_id,
            sessions: Arc::clone(sessions),
            ears: Some(Ears {
                stopped,
                token_ends: token_ends_for_session,
                returns: returning,
            }),
            guests: guests_for_session,
            log,
        };
        (live, seat)
    }
}

impl Live {
    pub(super) fn seen_now(&self) -> Presence {
        Presence {
            watchers: self.watchers.load(Ordering::Relaxed),
            ..self.presence
        }
    }
}

impl Seat {
    /// Changes what others see of the session.
    pub(super) fn change(&self, change: impl FnOnce(&mut Live)) {
        if let Some(live) = self.sessions.live().get_mut(&self.id) {
            change(live);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.log.close();
        self.sessions.live().remove(&self.id);
        self.sessions.metrics.live.dec();
    }
}
