//! One browser after the other attends to a session's device.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::info;

use super::Ending;
use super::live::{Browser, Return, Seat};
use super::resuming::say_close;
use super::running::Session;
use super::stops::Stops;
use crate::recording::Recorder;
use crate::relay::{Company, Ends, RelayLimits, Relayed, Size, Witness, keep, leave_device, relay, sign_of_life};
use crate::tap::{Acknowledged, Greeting, OutputLog, TappedDevice};

pub(super) struct Attendance<'session> {
    session: &'session Session,
    device: &'session mut TappedDevice,
    stops: Stops,
    limits: RelayLimits,
    witness: SessionWitness,
    /// Who came from elsewhere while a browser attended.
    next: Option<Return>,
}

impl<'session> Attendance<'session> {
    /// With numbered output (`tty.resume.v1`) the end of a browser is not the end of the session.
    pub(super) fn new(
        session: &'session Session,
        device: &'session mut TappedDevice,
        stops: Stops,
        is_numbered: bool,
    ) -> Self {
        let witness = SessionWitness {
            log: Arc::clone(&session.seat.log),
            recorder: session.recording.as_ref().map(|(recorder, _)| recorder.clone()),
            acknowledged: is_numbered.then(Acknowledged::default),
        };
        if is_numbered {
            witness.log.keep();
            session.seat.change(|live| live.presence.is_resumable = true);
        }
        Self {
            limits: session.seat.sessions.rules.limits.relay(),
            session,
            device,
            stops,
            witness,
            next: None,
        }
    }

    /// Relays to this browser, and to whoever comes back, until the session ends.
    pub(super) async fn run(mut self, browser: Browser) -> Relayed {
        let relayed = self.attend_to_all(browser).await;
        self.end_of_returns();
        for late in self.stops.close_returns() {
            Box::pin(say_close(late.browser, Ending::Draining)).await;
        }
        relayed
    }

    async fn attend_to_all(&mut self, browser: Browser) -> Relayed {
        self.greet(None);
        let mut relayed = self.attend(browser, None).await;
        while self.survives(relayed.ending) {
            let mut unsent = std::mem::take(&mut relayed.unsent);
            let back = match self.next.take() {
                Some(back) => Ok(back),
                None => Box::pin(self.wait_alone(relayed.ending, &mut unsent)).await,
            };
            let back = match back {
                Ok(back) => back,
                Err(ending) => {
                    self.end_of_returns();
                    Box::pin(leave_device(self.device, unsent)).await;
                    relayed.ending = ending;
                    return relayed;
                }
            };
            // Each browser begins with a pulse of its own. Who changes browsers faster than a pulse would leave the
            // device without a sign of life, and ttyd gives up after 10 s.
            sign_of_life(&mut unsent);
            self.greet(Some(back.offset));
            let again = self.attend(back.browser, Some(unsent)).await;
            relayed = relayed.followed_by(again);
        }
        relayed
    }

    fn survives(&self, ending: Ending) -> bool {
        self.witness.acknowledged.is_some() && ending.is_of_browser_alone()
    }

    async fn attend(&mut self, browser: Browser, unsent: Option<Vec<u8>>) -> Relayed {
        let is_numbered = self.witness.acknowledged.is_some();
        let Seat { id, sessions, line, .. } = &self.session.seat;
        let ends = Ends {
            browser,
            device: &mut *self.device,
            company: Company {
                witness: &self.witness,
                guests: &line.guests,
                unsent,
            },
        };
        let stop = self.stops.while_attached(&mut self.next);
        let survives = |ending: Ending| {
            let survives = is_numbered && ending.is_of_browser_alone();
            if !survives {
                sessions.end_returns(*id);
            }
            survives
        };
        relay(ends, &self.limits, stop, survives).await
    }

    /// Keeps the device until somebody comes back; otherwise says how the session ended.
    async fn wait_alone(&mut self, ending: Ending, unsent: &mut Vec<u8>) -> Result<Return, Ending> {
        let seat = &self.session.seat;
        let patience = seat.sessions.rules.limits.resume();
        info!(
            session.id = %seat.id, session.reason = ending.reason(),
            "Session {} goes on without a browser for up to {} s", seat.id, patience.as_secs(),
        );
        seat.change(|live| live.presence.is_attached = false);
        let alone = self.stops.while_alone(patience);
        let kept = keep(self.device, unsent, self.limits.patience.silence, alone).await;
        self.session.seat.change(|live| live.presence.is_attached = true);
        kept??.ok_or(ending)
    }

    /// From here on who comes back gets a new shell.
    fn end_of_returns(&self) {
        let seat = &self.session.seat;
        seat.sessions.end_returns(seat.id);
    }

    /// Tells the browser that comes next where the numbers of its output begin.
    fn greet(&mut self, offset: Option<u64>) {
        let Some(acknowledged) = &self.witness.acknowledged else {
            return;
        };
        let seat = &self.session.seat;
        let wanted = offset.unwrap_or_default();
        let first = seat.log.first_from(wanted);
        let greeting = Greeting {
            session_id: seat.id,
            resumed: offset.is_some(),
            offset: first,
            lost: first.saturating_sub(wanted),
            keep_seconds: seat.sessions.rules.limits.resume().as_secs(),
        };
        self.device.number(&greeting, Arc::clone(acknowledged));
    }
}

/// Who sees what a person does in a session.
struct SessionWitness {
    log: Arc<OutputLog>,
    recorder: Option<Recorder>,
    /// None where output is not numbered.
    acknowledged: Option<Acknowledged>,
}

impl Witness for SessionWitness {
    fn typed(&self, keys: &[u8]) {
        if let Some(recorder) = &self.recorder {
            recorder.input(keys);
        }
    }

    fn resized(&self, size: Size) {
        self.log.resized(size);
        if let Some(recorder) = &self.recorder {
            recorder.resized(size);
        }
    }

    fn acknowledged(&self, number: u64) -> bool {
        self.acknowledged
            .as_ref()
            .map(|acknowledged| acknowledged.fetch_max(number, Ordering::Relaxed))
            .is_some()
    }
}
