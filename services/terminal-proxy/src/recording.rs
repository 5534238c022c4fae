//! Recording what a session shows: asciicast v2, written as it happens, each block chained to the one before by its
//! hash. The last hash is in the session's record and in the audit chain, so that nobody changes a recording unseen.

mod cast;
mod check;
mod policy;
mod retention;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::domain::Digest;
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use self::cast::{CastHead, chain};
pub use self::check::check_recordings;
pub use self::policy::{InvalidRecordingRules, RecordingPolicy, RecordingRules};
pub(crate) use self::retention::Retention;
pub(crate) use self::writer::write;
use crate::relay::Size;

/// What may wait for the disk; more, and the device waits.
const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// A session that shows so much at once keeps the memory for it: new memory costs more than what is done with it.
const BUSY_BYTES: usize = 64 * 1024;

/// What happened in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventKind {
    Output,
    Input,
    Resized(Size),
}

#[derive(Debug, Clone, Copy)]
struct Event {
    kind: EventKind,
    at: Duration,
    /// How many of the batch's bytes belong to it.
    bytes: usize,
}

/// Events on their way to the writer.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Event>,
    bytes: Vec<u8>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Empties it; the memory stays for the next one only where much is shown.
    fn clear(&mut self) {
        if self.bytes.len() < BUSY_BYTES {
            *self = Self::default();
        }
        self.events.clear();
        self.bytes.clear();
    }
}

#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
    /// Wakes the writer.
    work: Notify,
    /// Wakes a writer who waits for more.
    urgent: Notify,
    /// Wakes who waits for the end.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    waiting: Option<Waker>,
    /// Nothing comes any more.
    is_closed: bool,
    outcome: Option<Outcome>,
}

/// How a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Written(Digest),
    Failed,
}

/// A session's hand on its recording.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    desk: Arc<Desk>,
    begun: Instant,
    now: Duration,
    with_input: bool,
}

impl Recorder {
    /// Begins; [`write()`] has to run beside the session.
    pub(crate) fn new(with_input: bool) -> Self {
        Self {
            desk: Arc::default(),
            begun: Instant::now(),
            now: Duration::ZERO,
            with_input,
        }
    }

    /// Waits for the writer while it does not keep up, and takes the time of what is read next.
    pub(crate) fn poll_ready(&mut self, cx: &Context<'_>) -> Poll<()> {
        self.now = self.begun.elapsed();
        let mut state = self.state();
        if state.batch.bytes.len() < MAX_WAITING_BYTES {
            return Poll::Ready(());
        }
        state.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    pub(crate) fn output(&mut self, bytes: &[u8]) {
        self.push(EventKind::Output, self.now, bytes);
    }

    /// Keys are recorded only where the rules say so: people type passwords.
    pub(crate) fn input(&self, keys: &[u8]) {
        if self.with_input {
            self.push(EventKind::Input, self.begun.elapsed(), keys);
        }
    }

    pub(crate) fn resized(&self, size: Size) {
        self.push(EventKind::Resized(size), self.begun.elapsed(), &[]);
    }

    /// Waits until nothing can be written any more, which never comes when all is well.
    pub(crate) async fn failed(&self) {
        loop {
            let ended = self.desk.ended.notified();
            if self.state().outcome == Some(Outcome::Failed) {
                return;
            }
            ended.await;
        }
    }

    /// Waits until everything is written; returns what the chain ended with, if all of it was.
    pub(crate) async fn finish(&self) -> Option<Digest> {
        self.state().is_closed = true;
        self.desk.work.notify_one();
        self.desk.urgent.notify_one();
        loop {
            let ended = self.desk.ended.notified();
            match self.state().outcome {
                Some(Outcome::Written(hash)) => return Some(hash),
                Some(Outcome::Failed) => return None,
                None => {}
            }
            ended.await;
        }
    }

    fn push(&self, kind: EventKind, at: Duration, bytes: &[u8]) {
        let mut state = self.state();
        if state.outcome.is_some() {
            return;
        }
        let batch = &mut state.batch;
        let at = batch.events.last().map_or(at, |last| last.at.max(at));
        match batch.events.last_mut() {
            Some(last) if last.kind == kind && last.at == at && kind == EventKind::Output => last.bytes += bytes.len(),
            Some(_) | None => batch.events.push(Event {
                kind,
                at,
                bytes: bytes.len(),
            }),
        }
        batch.bytes.extend_from_slice(bytes);
        let is_much = batch.bytes.len() >= BUSY_BYTES;
        drop(state);
        self.desk.work.notify_one();
        if is_much {
            self.desk.urgent.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.desk.state()
    }
}

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
