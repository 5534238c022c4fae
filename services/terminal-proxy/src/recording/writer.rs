//! Writes a session's batches beside the session, in blocks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::domain::Digest;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::error;

use super::cast::{CastEncoder, CastHead, chain};
use super::{BUSY_BYTES, Batch, Desk, Outcome, Recorder};
use crate::ports::RecordingSink;

/// How long little waits for more.
const GATHERING: Duration = Duration::from_millis(20);

/// Writes what a recorder is given until it is closed, or until writing fails.
pub(crate) async fn write(recorder: &Recorder, head: CastHead, sink: Box<dyn RecordingSink>, max_bytes: u64) {
    let desk = Arc::clone(&recorder.desk);
    let session_id = head.session_id;
    let mut pen = Pen {
        encoder: CastEncoder::new(head),
        sink,
        hash: Digest([0; 32]),
        bytes_left: max_bytes,
        block: String::new(),
    };
    let mut batch = Batch::default();
    let outcome = loop {
        desk.work.notified().await;
        // A block for each few characters would cost more than all that is in them.
        drop(timeout(GATHERING, desk.urgent.notified()).await);
        let is_closed = desk.take(&mut batch);
        if batch.is_empty() && !is_closed {
            continue;
        }
        let written = spawn_blocking(move || {
            let result = pen.write(&batch, is_closed);
            batch.clear();
            (pen, batch, result)
        });
        match written.await {
            Ok((used_pen, used_batch, Ok(()))) => (pen, batch) = (used_pen, used_batch),
            Ok((_, _, Err(failure))) => {
                error!(session.id = %session_id, error = %failure, "The recording of session {session_id} cannot be written");
                break Outcome::Failed;
            }
            Err(failure) => {
                error!(session.id = %session_id, error = %failure, "The recording of session {session_id} broke off");
                break Outcome::Failed;
            }
        }
        if is_closed {
            break Outcome::Written(pen.hash);
        }
    };
    let waiting = {
        let mut state = desk.state();
        state.outcome = Some(outcome);
        state.batch = Batch::default();
        state.waiting.take()
    };
    if let Some(waker) = waiting {
        waker.wake();
    }
    desk.ended.notify_waiters();
}

impl Desk {
    /// Exchanges an empty batch for what there is, and says whether that is the end; whoever waited for room goes on.
    fn take(&self, batch: &mut Batch) -> bool {
        let mut state = self.state();
        std::mem::swap(&mut state.batch, batch);
        let is_closed = state.is_closed;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
        is_closed
    }
}

struct Pen {
    encoder: CastEncoder,
    sink: Box<dyn RecordingSink>,
    hash: Digest,
    bytes_left: u64,
    /// Empty between two blocks.
    block: String,
}

impl Pen {
    fn write(&mut self, batch: &Batch, is_last: bool) -> io::Result<()> {
        self.encoder.encode(batch, &mut self.block);
        if !self.block.is_empty() {
            let block = self.block.as_bytes();
            self.bytes_left = self
                .bytes_left
                .checked_sub(block.len() as u64)
                .ok_or_else(|| io::Error::other("it is as long as a recording may be"))?;
            self.hash = chain(&self.hash, block);
            self.sink.append(block, &self.hash)?;
        }
        if self.block.len() < BUSY_BYTES {
            self.block = String::new();
        }
        self.block.clear();
        if is_last { self.sink.finish() } else { Ok(()) }
    }
}
