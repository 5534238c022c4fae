//! Whatever ends a session from outside, and who comes back to it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Ending;
use super::live::{Ears, Return};
use crate::recording::Recorder;

pub(super) struct Stops {
    told: oneshot::Receiver<Ending>,
    token_ends: watch::Receiver<Instant>,
    returns: mpsc::Receiver<Return>,
    longest: Instant,
    drain: CancellationToken,
    /// A recording that the session does not go on without.
    recorder: Option<Recorder>,
}

impl Stops {
    pub(super) fn new(ears: Ears, longest: Instant, drain: CancellationToken, recorder: Option<Recorder>) -> Self {
        Self {
            told: ears.stopped,
            token_ends: ears.token_ends,
            returns: ears.returns,
            longest,
            drain,
            recorder,
        }
    }

    /// Takes nobody any more; returns who was on the way.
    pub(super) fn close_returns(&mut self) -> impl Iterator<Item = Return> {
        self.returns.close();
        std::iter::from_fn(|| self.returns.try_recv().ok())
    }

    /// Waits for what ends a session while its person is there; who comes back from elsewhere is put into `next`.
    pub(super) async fn while_attached(&mut self, next: &mut Option<Return>) -> Ending {
        let token_ended = end_of_token(self.token_ends.clone());
        tokio::select! {
            biased;
            ending = ordered(&mut self.told, self.longest, &self.drain, self.recorder.as_ref()) => ending,
            () = token_ended => Ending::TokenExpired,
            Some(back) = self.returns.recv() => {
                *next = Some(back);
                Ending::Continued
            }
        }
    }

    /// Waits for somebody to come back, at most so long. The token may end meanwhile: nobody sees or types
    /// anything, and who comes back brings a fresh one.
    pub(super) async fn while_alone(&mut self, patience: Duration) -> Result<Option<Return>, Ending> {
        tokio::select! {
            biased;
            ending = ordered(&mut self.told, self.longest, &self.drain, self.recorder.as_ref()) => Err(ending),
            Some(back) = self.returns.recv() => Ok(Some(back)),
            () = sleep(patience) => Ok(None),
        }
    }
}

async fn ordered(
    told: &mut oneshot::Receiver<Ending>,
    longest: Instant,
    drain: &CancellationToken,
    recorder: Option<&Recorder>,
) -> Ending {
    let recording_failed = async {
        match recorder {
            Some(recorder) => recorder.failed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ending = told => ending.unwrap_or(Ending::Killed),
        () = sleep_until(longest) => Ending::TooLong,
        () = drain.cancelled() => Ending::Draining,
        () = recording_failed => Ending::NotRecorded,
    }
}

/// Waits until the token has ended and no fresh one came.
async fn end_of_token(mut token_ends: watch::Receiver<Instant>) {
    loop {
        let ends = *token_ends.borrow_and_update();
        tokio::select! {
            () = sleep_until(ends) => return,
            renewed = token_ends.changed() => if renewed.is_err() {
                return sleep_until(ends).await; // the seat is given back: nobody can renew any more
            }
        }
    }
}
