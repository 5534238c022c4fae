//! Writes a session's batches beside the session, in blocks.

use std::io;
use std::sync::Arc;

use common::domain::Digest;
use tokio::task::spawn_blocking;
use tracing::error;

use super::cast::{CastEncoder, CastHead, chain};
use super::{Batch, Desk, Outcome, Recorder};
use crate::ports::RecordingSink;

/// Writes what a recorder is given until it is closed, or until writing fails.
pub(crate) async fn write(recorder: &Recorder, head: CastHead, sink: Box<dyn RecordingSink>, max_bytes: u64) {
    let desk = Arc::clone(&recorder.desk);
    let session_id = head.session_id;
    let mut pen = Pen {
        encoder: CastEncoder::new(head),
        sink,
        hash: Digest([0; 32]),
        bytes_left: max_bytes,
    };
    let outcome = loop {
        let (batch, is_closed) = next(&desk).await;
        let written = spawn_blocking(move || {
            let result = pen.write(&batch, is_closed);
            (pen, result)
        });
        match written.await {
            Ok((used, Ok(()))) => pen = used,
            Ok((_, Err(failure))) => {
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

/// Waits for events, or for the end; whoever waited for room goes on.
async fn next(desk: &Desk) -> (Batch, bool) {
    loop {
        {
            let mut state = desk.state();
            if !state.batch.is_empty() || state.is_closed {
                let batch = std::mem::take(&mut state.batch);
                let is_closed = state.is_closed;
                let waiting = state.waiting.take();
                drop(state);
                if let Some(waker) = waiting {
                    waker.wake();
                }
                return (batch, is_closed);
            }
        }
        desk.work.notified().await;
    }
}

struct Pen {
    encoder: CastEncoder,
    sink: Box<dyn RecordingSink>,
    hash: Digest,
    bytes_left: u64,
}

impl Pen {
    fn write(&mut self, batch: &Batch, is_last: bool) -> io::Result<()> {
        let block = self.encoder.encode(batch);
        if !block.is_empty() {
            self.bytes_left = self
                .bytes_left
                .checked_sub(block.len() as u64)
                .ok_or_else(|| io::Error::other("it is as long as a recording may be"))?;
            self.hash = chain(&self.hash, &block);
            self.sink.append(&block, &self.hash)?;
        }
        if is_last { self.sink.finish() } else { Ok(()) }
    }
}
