//! Sessions from permit to record: how many there may be, who stands behind each, and when it has to end.

mod attending;
mod audience;
mod ending;
mod line;
mod live;
mod metrics;
mod people;
mod renewal;
mod resuming;
mod running;
mod seats;
mod standing;
mod stops;

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use common::chassis::shutdown::Shutdown;
use common::domain::{
    Actor, AuditTrail, Clock, NewSession, Operator, RegistryError, Role, SessionEnding, SessionId, SessionLedger,
    SessionRecord, StoreError,
};
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::audience::{Place, Watched};
pub(crate) use self::ending::Ending;
use self::live::Live;
pub(crate) use self::live::{Browser, Seat, SessionSeen};
use self::metrics::SessionMetrics;
pub(crate) use self::people::{Badge, Spectator};
pub(crate) use self::renewal::RenewError;
pub(crate) use self::resuming::{Comeback, Resume};
pub(crate) use self::running::Session;
use self::seats::Seats;
use crate::access::Grant;
use crate::config::Limits;
use crate::ports::RecordingShelf;
use crate::recording::{RecordingPolicy, RecordingRules};

/// Why there is no room for another session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSeat {
    #[error("the person has too many sessions")]
    TooManySessions,
    #[error("the device has too many sessions")]
    DeviceBusy,
    #[error("this process has too many sessions")]
    AtCapacity,
    #[error("this process stops")]
    Draining,
    #[error("the database is away")]
    DirectoryLost,
}

/// What sessions live by.
pub(crate) struct SessionRules {
    /// The name of this process in session records.
    pub(crate) instance: String,
    pub(crate) limits: Limits,
    pub(crate) recording: RecordingRules,
    /// Cancelled when the process begins to stop.
    pub(crate) drain: CancellationToken,
}

/// What sessions need from outside.
pub(crate) struct SessionPorts {
    pub(crate) ledger: Arc<dyn SessionLedger>,
    pub(crate) audit: Arc<dyn AuditTrail>,
    /// None where nothing is ever recorded.
    pub(crate) recordings: Option<Arc<dyn RecordingShelf>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shutdown: Shutdown,
}

/// The sessions of this process.
pub(crate) struct Sessions {
    ports: SessionPorts,
    rules: SessionRules,
    metrics: SessionMetrics,
    live: Mutex<Seats>,
    spectators: Mutex<Vec<Weak<Spectator>>>,
    /// When the database last answered.
    directory_seen: Mutex<Instant>,
}

impl Sessions {
    pub(crate) fn new(ports: SessionPorts, rules: SessionRules, registry: &mut Registry) -> Arc<Self> {
        Arc::new(Self {
            ports,
            rules,
            metrics: SessionMetrics::register(registry),
            live: Mutex::default(),
            spectators: Mutex::default(),
            directory_seen: Mutex::new(Instant::now()),
        })
    }

    /// Takes a seat, records the beginning, and returns the session. What cannot be recorded does not begin.
    pub(crate) async fn begin(self: &Arc<Self>, grant: &Grant, client: String) -> Result<Session, BeginError> {
        let seat = self.take_seat(grant)?;
        let policy = self.rules.recording.policy_for(&grant.device.group);
        let record = NewSession {
            id: seat.id,
            device_id: grant.device.id.clone(),
            device_epoch: grant.device.epoch,
            subject: grant.operator.subject.clone(),
            username: grant.operator.username.clone(),
            instance: self.rules.instance.clone(),
            client_address: client,
            recorded: policy != RecordingPolicy::Off,
        };
        self.ports.ledger.open_session(&record).await?;
        if let Some(live) = self.live().get_mut(seat.id) {
            live.is_on_record = true;
        }
        let session = Session::new(seat, record);
        match policy {
            RecordingPolicy::Off => Ok(session),
            RecordingPolicy::On | RecordingPolicy::Required => session.with_recording(policy).await,
        }
    }

    /// Counts and takes in one step, so that two requests cannot both take the last seat.
    pub(crate) fn take_seat(self: &Arc<Self>, grant: &Grant) -> Result<Seat, NoSeat> {
        if self.rules.drain.is_cancelled() {
            return Err(NoSeat::Draining);
        }
        if self.directory_seen().elapsed() > self.rules.limits.directory_patience() {
            return Err(NoSeat::DirectoryLost);
        }
        let mut live = self.live();
        let subject = &grant.operator.subject;
        if live.count_of_person(subject) >= self.rules.limits.max_sessions_per_user {
            return Err(NoSeat::TooManySessions);
        }
        if live.count_of_device(&grant.device.id) >= self.rules.limits.max_sessions_per_device {
            return Err(NoSeat::DeviceBusy);
        }
        if live.count() >= self.rules.limits.max_sessions {
            return Err(NoSeat::AtCapacity);
        }
        let badge = live.keep_once(subject, &grant.badge);
        let (session, seat) = Live::new(grant, badge, self);
        live.take(grant.session_id, session);
        drop(live);
        self.metrics.live.inc();
        Ok(seat)
    }

    /// Closes what a former life of this instance left open.
    pub(crate) async fn close_orphans(&self) -> Result<u64, StoreError> {
        self.ports.ledger.close_orphans(&self.rules.instance).await
    }

    /// Shows one session: to an admin, and to the person whose it is.
    pub(crate) async fn find(&self, viewer: &Operator, id: SessionId) -> Result<Option<SessionSeen>, StoreError> {
        let record = self.ports.ledger.session(id).await?;
        let visible = record.filter(|record| is_visible(viewer, &record.session));
        Ok(visible.map(|record| self.seen(record)))
    }

    fn seen(&self, record: SessionRecord) -> SessionSeen {
        let presence = self.live().get(record.session.id).map(Live::seen_now);
        SessionSeen { record, presence }
    }

    /// Lists sessions, newest first: all for an admin, one's own for anyone else.
    pub(crate) async fn list(&self, viewer: &Operator, open_only: bool) -> Result<Vec<SessionSeen>, StoreError> {
        let subject = (!sees_all(viewer)).then_some(viewer.subject.as_str());
        let records = self.ports.ledger.sessions(subject, open_only).await?;
        Ok(records.into_iter().map(|record| self.seen(record)).collect())
    }

    /// Orders a session to end, whichever process serves it; at once when it is this one.
    pub(crate) async fn kill(&self, by: &Operator, id: SessionId) -> Result<(), RegistryError> {
        if self.find(by, id).await?.is_none() {
            return Err(RegistryError::Unknown);
        }
        self.ports.ledger.request_end(id, &Actor::from(by)).await?;
        self.stop(id, Ending::Killed);
        Ok(())
    }

    /// Whether this process serves a session.
    pub(crate) fn serves(&self, id: SessionId) -> bool {
        self.live().get(id).is_some()
    }

    fn stop(&self, id: SessionId, ending: Ending) {
        if let Some(live) = self.live().get(id) {
            live.line.stop(ending);
        }
    }

    fn recorded_ids(&self) -> HashSet<SessionId> {
        self.live()
            .iter()
            .filter(|(_, live)| live.is_on_record)
            .map(|(id, _)| id)
            .collect()
    }

    async fn close(&self, session: &NewSession, ending: &SessionEnding) -> Result<(), StoreError> {
        self.ports.ledger.close_session(session, ending).await
    }

    fn live(&self) -> MutexGuard<'_, Seats> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory_seen(&self) -> MutexGuard<'_, Instant> {
        self.directory_seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a session does not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BeginError {
    #[error(transparent)]
    NoSeat(#[from] NoSeat),
    /// It went out of service, or began anew, after the permit.
    #[error("the device is not the one that was authorised")]
    DeviceGone,
    #[error("the beginning of the session cannot be put on record")]
    NotOnRecord(#[from] StoreError),
    /// Its device's fleet demands a recording.
    #[error("what the session shows cannot be recorded")]
    NotRecorded(#[source] io::Error),
}

impl From<RegistryError> for BeginError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unknown | RegistryError::WrongState(_) => Self::DeviceGone,
            RegistryError::Store(error) => Self::NotOnRecord(error),
        }
    }
}

fn is_visible(viewer: &Operator, session: &NewSession) -> bool {
    sees_all(viewer) || session.subject == viewer.subject
}

fn sees_all(viewer: &Operator) -> bool {
    viewer.role == Role::Admin
}
