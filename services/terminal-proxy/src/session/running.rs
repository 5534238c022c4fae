use std::sync::Arc;
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{Digest, NewSession, SessionEnding, SessionId};
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::attending::Attendance;
use super::live::Browser;
use super::stops::Stops;
use super::{BeginError, Ending, Seat};
use crate::ports::RecordingShelf;
use crate::recording::{self, CastHead, Recorder, RecordingPolicy};
use crate::relay::Relayed;
use crate::tap::TappedDevice;
use crate::upstream::DeviceConnection;

/// Waits between two tries to record an end.
const RECORD_RETRIES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// A session that was authorised, has a seat, and is on record.
pub(crate) struct Session {
    pub(super) seat: Seat,
    pub(super) record: NewSession,
    begun: Instant,
    pub(super) recording: Option<(Recorder, RecordingPolicy)>,
}

impl Session {
    pub(super) fn new(seat: Seat, record: NewSession) -> Self {
        Self {
            seat,
            record,
            begun: Instant::now(),
            recording: None,
        }
    }

    /// Begins the recording; a session that demands one ends here when there is none.
    pub(super) async fn with_recording(mut self, policy: RecordingPolicy) -> Result<Self, BeginError> {
        let sessions = Arc::clone(&self.seat.sessions);
        let begun = match &sessions.ports.recordings {
            Some(recordings) => self.begin_recording(recordings.as_ref()).await,
            None => Err(std::io::Error::other("there is no place for recordings")),
        };
        match begun {
            Ok(recorder) => self.recording = Some((recorder, policy)),
            Err(failure) if policy == RecordingPolicy::Required => {
                self.fail(Ending::NotRecorded.reason()).await;
                return Err(BeginError::NotRecorded(failure));
            }
            Err(failure) => {
                warn!(session.id = %self.record.id, error = %failure, "A session is not recorded");
            }
        }
        Ok(self)
    }

    async fn begin_recording(&self, recordings: &dyn RecordingShelf) -> std::io::Result<Recorder> {
        let sink = recordings.begin(self.record.id).await?;
        let sessions = &self.seat.sessions;
        let rules = &sessions.rules.recording;
        let recorder = Recorder::new(rules.with_input);
        let head = CastHead {
            session_id: self.record.id,
            device_id: self.record.device_id.to_string(),
            username: self.record.username.clone(),
            began_at: sessions.ports.clock.now().unix_timestamp(),
        };
        let (writer, max_bytes) = (recorder.clone(), rules.max_bytes);
        let write = async move { recording::write(&writer, head, sink, max_bytes).await };
        drop(sessions.ports.shutdown.spawn(write));
        Ok(recorder)
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
            recording: self.finish_recording().await,
        };
        self.record_end(&ending).await;
    }

    /// Relays until the end, and records it. With numbered output (`tty.resume.v1`) the end of the browser is not
    /// the end of the session.
    pub(crate) async fn run(self: Box<Self>, browser: Browser, is_numbered: bool, device: DeviceConnection) {
        info!(
            session.id = %self.record.id, device.id = %self.record.device_id, user.name = %self.record.username,
            "Opened session {} on `{}`", self.record.id, self.record.device_id,
        );
        let limits = self.seat.sessions.rules.limits.relay();
        let recorder = self.recording.as_ref().map(|(recorder, _)| recorder.clone());
        let log = Arc::clone(&self.seat.log);
        let mut device = TappedDevice::new(device, log, recorder, limits.max_device_frame_bytes);
        let stops = self.stops();
        let attendance = Attendance::new(&self, &mut device, stops, is_numbered);
        let relayed = attendance.run(browser).await;
        drop(device);
        // What is only needed at the end costs a running session nothing.
        Box::pin(self.finish(&relayed)).await;
    }

    fn stops(&self) -> Stops {
        let rules = &self.seat.sessions.rules;
        let demanded = self
            .recording
            .as_ref()
            .filter(|(_, policy)| *policy == RecordingPolicy::Required)
            .map(|(recorder, _)| recorder.clone());
        Stops::new(
            Arc::clone(&self.seat.line),
            self.begun + rules.limits.max_session(),
            rules.drain.clone(),
            demanded,
        )
    }

    async fn finish_recording(&self) -> Option<Digest> {
        match &self.recording {
            Some((recorder, _)) => recorder.finish().await,
            None => None,
        }
    }

    async fn finish(self: Box<Self>, relayed: &Relayed) {
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
            recording: self.finish_recording().await,
        };
        self.record_end(&ending).await;
    }

    /// Records the end; what cannot be recorded now is closed by the next standing poll.
    async fn record_end(&self, ending: &SessionEnding) {
        let sessions = &self.seat.sessions;
        for wait in RECORD_RETRIES {
            if sessions.close(&self.record, ending).await.is_ok() {
                return;
            }
            sleep(wait).await;
        }
        if let Err(failure) = sessions.close(&self.record, ending).await {
            error!(session.id = %self.record.id, error = error_chain(&failure), "The end of a session is not on record yet");
        }
    }
}
