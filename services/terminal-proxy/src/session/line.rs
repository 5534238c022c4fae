//! The line into a running session: what others tell it, in one allocation.

use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Ending;
use super::live::Return;
use crate::mailbox::Mailbox;

/// Messages of guests that wait for the device; more, and the guests wait.
const MAX_GUEST_MESSAGES: usize = 16;

/// Shared by the session, its seat, and everybody who watches.
pub(super) struct Line {
    orders: Mutex<Orders>,
    changed: Notify,
    /// Who comes back, one after the other.
    pub(super) returns: Mailbox<Return>,
    /// Keys of the people who type along.
    pub(super) guests: Mailbox<Vec<u8>>,
    /// How many watch.
    pub(super) watchers: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
struct Orders {
    /// Why it has to end, once that is known; the first reason stays.
    ending: Option<Ending>,
    /// When the token behind it ends.
    token_ends: Instant,
}

impl Line {
    pub(super) fn new(token_ends: Instant) -> Self {
        Self {
            orders: Mutex::new(Orders {
                ending: None,
                token_ends,
            }),
            changed: Notify::new(),
            returns: Mailbox::new(1),
            guests: Mailbox::new(MAX_GUEST_MESSAGES),
            watchers: AtomicUsize::new(0),
        }
    }

    /// Tells the session to end.
    pub(super) fn stop(&self, ending: Ending) {
        self.orders().ending.get_or_insert(ending);
        self.changed.notify_waiters();
    }

    /// Lets the session live as long as a fresh token.
    pub(super) fn extend(&self, token_ends: Instant) {
        self.orders().token_ends = token_ends;
        self.changed.notify_waiters();
    }

    /// Waits until it was told to end, or has lasted long enough, or, where it counts, its token has ended.
    pub(super) async fn ended(&self, longest: Instant, token_counts: bool) -> Ending {
        loop {
            let changed = self.changed.notified();
            let Orders { ending, token_ends } = *self.orders();
            let now = Instant::now();
            if let Some(ending) = ending {
                return ending;
            } else if longest <= now {
                return Ending::TooLong;
            } else if token_counts && token_ends <= now {
                return Ending::TokenExpired;
            }
            let next = if token_counts { longest.min(token_ends) } else { longest };
            tokio::select! {
                () = changed => {}
                () = sleep_until(next) => {}
            }
        }
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
