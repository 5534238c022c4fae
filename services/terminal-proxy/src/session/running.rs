use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{NewSession, SessionEnding, SessionId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info};

use super::{Ending, Seat};
use crate::relay::{Ends, Relayed, relay};
use crate::upstream::DeviceConnection;

/// Waits between two tries to record an end.
const RECORD_RETRIES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// A session that was authorised, has a seat, and is on record.
pub(crate) struct Session {
    seat: Seat,
    record: NewSession,
    begun: Instant,
}

impl Session {
    pub(super) fn new(seat: Seat, record: NewSession) -> Self {
        Self {
            seat,
            record,
            begun: Instant::now(),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.record.id
    }

    /// Ends a session that never had a shell.
    pub(crate) async fn fail(self, reason: &'static str) {
        self.seat.sessions.metrics.count_refused(reason);
        let ending = SessionEnding {
            reason,
            output_bytes: 0,
            input_bytes: 0,
        };
        self.record_end(&ending).await;
    }

    /// Relays until the end, and records it.
    pub(crate) async fn run<B>(mut self, browser: B, device: DeviceConnection)
    where
        B: AsyncRead + AsyncWrite + Unpin,
    {
        info!(
            session.id = %self.record.id, device.id = %self.record.device_id, user.name = %self.record.username,
            "Opened session {} on `{}`", self.record.id, self.record.device_id,
        );
        let limits = self.seat.sessions.rules.limits.relay();
        let ends = Ends {
            browser,
            device: device.stream,
            early: device.early,
        };
        let stop = self.reason_to_stop();
        let relayed = relay(ends, &limits, stop).await;
        self.finish(&relayed).await;
    }

    /// Waits for whatever ends this session from outside.
    fn reason_to_stop(&mut self) -> impl Future<Output = Ending> + use<> {
        let sessions = &self.seat.sessions;
        let drain = sessions.rules.drain.clone();
        let token_ended = end_of_token(self.seat.token_ends.clone());
        let longest = self.begun + sessions.rules.limits.max_session();
        let stopped = self.seat.stopped.take();
        async move {
            let told = async {
                match stopped {
                    Some(stopped) => stopped.await.unwrap_or(Ending::Killed),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                ending = told => ending,
                () = token_ended => Ending::TokenExpired,
                () = sleep_until(longest) => Ending::TooLong,
                () = drain.cancelled() => Ending::Draining,
            }
        }
    }

    async fn finish(self, relayed: &Relayed) {
        self.seat.sessions.metrics.count(relayed);
        let reason = relayed.ending.reason();
        info!(
            session.id = %self.record.id, device.id = %self.record.device_id, user.name = %self.record.username,
            session.reason = reason, output_bytes = relayed.output_bytes, input_bytes = relayed.input_bytes,
            duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "Ended session {} on `{}`: {reason}", self.record.id, self.record.device_id,
        );
        let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let ending = SessionEnding {
            reason,
            output_bytes: bytes(relayed.output_bytes),
            input_bytes: bytes(relayed.input_bytes),
        };
        self.record_end(&ending).await;
    }

    /// Records the end; what cannot be recorded now is closed by the next standing poll.
    async fn record_end(&self, ending: &SessionEnding) {
        let sessions = &self.seat.sessions;
        for wait in RECORD_RETRIES {
            if sessions.close(self.record.id, ending).await.is_ok() {
                return;
            }
            sleep(wait).await;
        }
        if let Err(failure) = sessions.close(self.record.id, ending).await {
            error!(session.id = %self.record.id, error = error_chain(&failure), "The end of a session is not on record yet");
        }
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
