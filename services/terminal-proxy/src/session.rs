//! Sessions from permit to record: how many there may be, who stands behind each, and when it has to end.

mod ending;
mod metrics;
mod renewal;
mod running;
mod standing;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::domain::{
    Actor, Clock, DeviceId, NewSession, Operator, RegistryError, Role, SessionEnding, SessionId, SessionLedger,
    SessionRecord, StoreError,
};
use prometheus_client::registry::Registry;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::ending::Ending;
use self::metrics::SessionMetrics;
pub(crate) use self::renewal::RenewError;
pub(crate) use self::running::Session;
use crate::access::Grant;
use crate::config::Limits;

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
    /// Cancelled when the process begins to stop.
    pub(crate) drain: CancellationToken,
}

/// The sessions of this process.
pub(crate) struct Sessions {
    ledger: Arc<dyn SessionLedger>,
    clock: Arc<dyn Clock>,
    rules: SessionRules,
    metrics: SessionMetrics,
    live: Mutex<HashMap<SessionId, Live>>,
    /// When the database last answered.
    directory_seen: Mutex<Instant>,
}

/// A session that holds a seat, from its permit to the end of its record.
struct Live {
    operator: Operator,
    device_id: DeviceId,
    device_epoch: i64,
    /// Its beginning is on record.
    recorded: bool,
    /// Tells it to end; none once it was told.
    stop: Option<oneshot::Sender<Ending>>,
    /// When the token behind it ends.
    token_ends: watch::Sender<Instant>,
}

/// A seat; given back when it is dropped.
pub(crate) struct Seat {
    id: SessionId,
    sessions: Arc<Sessions>,
    stopped: Option<oneshot::Receiver<Ending>>,
    token_ends: watch::Receiver<Instant>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sessions.live().remove(&self.id);
        self.sessions.metrics.live.dec();
    }
}

impl Sessions {
    pub(crate) fn new(
        ledger: Arc<dyn SessionLedger>,
        clock: Arc<dyn Clock>,
        rules: SessionRules,
        registry: &mut Registry,
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            clock,
            rules,
            metrics: SessionMetrics::register(registry),
            live: Mutex::default(),
            directory_seen: Mutex::new(Instant::now()),
        })
    }

    /// Takes a seat, records the beginning, and returns the session. What cannot be recorded does not begin.
    pub(crate) async fn begin(self: &Arc<Self>, grant: &Grant, client: String) -> Result<Session, BeginError> {
        let seat = self.take_seat(grant)?;
        let record = NewSession {
            id: seat.id,
            device_id: grant.device.id.clone(),
            device_epoch: grant.device.epoch,
            subject: grant.operator.subject.clone(),
            username: grant.operator.username.clone(),
            instance: self.rules.instance.clone(),
            client_address: client,
        };
        self.ledger.open_session(&record).await?;
        if let Some(live) = self.live().get_mut(&seat.id) {
            live.recorded = true;
        }
        Ok(Session::new(seat, record))
    }

    /// Counts and takes in one step, so that two requests cannot both take the last seat.
    fn take_seat(self: &Arc<Self>, grant: &Grant) -> Result<Seat, NoSeat> {
        if self.rules.drain.is_cancelled() {
            return Err(NoSeat::Draining);
        }
        if self.directory_seen().elapsed() > self.rules.limits.directory_patience() {
            return Err(NoSeat::DirectoryLost);
        }
        let mut live = self.live();
        let of_person = live
            .values()
            .filter(|live| live.operator.subject == grant.operator.subject)
            .count();
        let of_device = live.values().filter(|live| live.device_id == grant.device.id).count();
        if of_person >= self.rules.limits.max_sessions_per_user {
            return Err(NoSeat::TooManySessions);
        }
        if of_device >= self.rules.limits.max_sessions_per_device {
            return Err(NoSeat::DeviceBusy);
        }
        if live.len() >= self.rules.limits.max_sessions {
            return Err(NoSeat::AtCapacity);
        }
        let id = grant.session_id;
        let (stop, stopped) = oneshot::channel();
        let (token_ends, token_ends_for_session) = watch::channel(self.token_end(&grant.operator));
        live.insert(
            id,
            Live {
                operator: grant.operator.clone(),
                device_id: grant.device.id.clone(),
                device_epoch: grant.device.epoch,
                recorded: false,
                stop: Some(stop),
                token_ends,
            },
        );
        drop(live);
        self.metrics.live.inc();
        Ok(Seat {
            id,
            sessions: Arc::clone(self),
            stopped: Some(stopped),
            token_ends: token_ends_for_session,
        })
    }

    /// Closes what a former life of this instance left open.
    pub(crate) async fn close_orphans(&self) -> Result<u64, StoreError> {
        self.ledger.close_orphans(&self.rules.instance).await
    }

    /// Shows one session: to an admin, and to the person whose it is.
    pub(crate) async fn find(&self, viewer: &Operator, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let record = self.ledger.session(id).await?;
        Ok(record.filter(|record| is_visible(viewer, &record.session)))
    }

    /// Lists sessions, newest first: all for an admin, one's own for anyone else.
    pub(crate) async fn list(&self, viewer: &Operator, open_only: bool) -> Result<Vec<SessionRecord>, StoreError> {
        let subject = (!sees_all(viewer)).then_some(viewer.subject.as_str());
        self.ledger.sessions(subject, open_only).await
    }

    /// Orders a session to end, whichever process serves it; at once when it is this one.
    pub(crate) async fn kill(&self, by: &Operator, id: SessionId) -> Result<(), RegistryError> {
        if self.find(by, id).await?.is_none() {
            return Err(RegistryError::Unknown);
        }
        self.ledger.request_end(id, &Actor::from(by)).await?;
        self.stop(id, Ending::Killed);
        Ok(())
    }

    fn stop(&self, id: SessionId, ending: Ending) {
        let stop = self.live().get_mut(&id).and_then(|live| live.stop.take());
        if let Some(stop) = stop {
            // An error means that it is ending by itself at this moment.
            stop.send(ending).map_or_else(drop, drop);
        }
    }

    fn recorded_ids(&self) -> HashSet<SessionId> {
        self.live()
            .iter()
            .filter(|(_, live)| live.recorded)
            .map(|(id, _)| *id)
            .collect()
    }

    async fn close(&self, id: SessionId, ending: &SessionEnding) -> Result<(), StoreError> {
        self.ledger.close_session(id, ending).await
    }

    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, Live>> {
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
    #[error("the session cannot be recorded")]
    NotRecorded(#[from] StoreError),
}

impl From<RegistryError> for BeginError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Unknown | RegistryError::WrongState(_) => Self::DeviceGone,
            RegistryError::Store(error) => Self::NotRecorded(error),
        }
    }
}

fn is_visible(viewer: &Operator, session: &NewSession) -> bool {
    sees_all(viewer) || session.subject == viewer.subject
}

fn sees_all(viewer: &Operator) -> bool {
    viewer.role == Role::Admin
}
