//! Whatever ends a session from outside, and who comes back to it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Ending;
use super::line::Line;
use super::live::Return;
use crate::recording::Recorder;

pub(super) struct Stops {
    line: Arc<Line>,
    longest: Instant,
    drain: CancellationToken,
    /// A recording that the session does not go on without.
    recorder: Option<Recorder>,
}

impl Stops {
    pub(super) fn new(line: Arc<Line>, longest: Instant, drain: CancellationToken, recorder: Option<Recorder>) -> Self {
        Self {
            line,
            longest,
            drain,
            recorder,
        }
    }

    /// Takes nobody any more; returns who was on the way.
    pub(super) fn close_returns(&self) -> impl Iterator<Item = Return> {
        self.line.returns.close().into_iter()
    }

    /// Waits for what ends a session while its person is there; who comes back from elsewhere is put into `next`.
    pub(super) async fn while_attached(&self, next: &mut Option<Return>) -> Ending {
        tokio::select! {
            biased;
            ending = self.ordered(true) => ending,
            back = poll_fn(|cx| self.line.returns.poll_recv(cx)) => {
                *next = Some(back);
                Ending::Continued
            }
        }
    }

    /// Waits for somebody to come back, at most so long. The token may end meanwhile: nobody sees or types
    /// anything, and who comes back brings a fresh one.
    pub(super) async fn while_alone(&self, patience: Duration) -> Result<Option<Return>, Ending> {
        tokio::select! {
            biased;
            ending = self.ordered(false) => Err(ending),
            back = poll_fn(|cx| self.line.returns.poll_recv(cx)) => Ok(Some(back)),
            () = sleep(patience) => Ok(None),
        }
    }

    async fn ordered(&self, token_counts: bool) -> Ending {
        let recording_failed = async {
            match &self.recorder {
                Some(recorder) => recorder.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ending = self.line.ended(self.longest, token_counts) => ending,
            () = self.drain.cancelled() => Ending::Draining,
            () = recording_failed => Ending::NotRecorded,
        }
    }
}
