use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Actor, DeviceId, DeviceState, Digest, GroupName, Operator, RegistryError, StoreError, Timestamp};

/// The name of a terminal session (`UUIDv7`): a label, never a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

impl SessionId {
    /// Makes a fresh id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A session that was authorised and is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Its name.
    pub id: SessionId,
    /// Which device.
    pub device_id: DeviceId,
    /// Which epoch of it.
    pub device_epoch: i64,
    /// Who opened it: the token's `sub`.
    pub subject: String,
    /// The name that people know.
    pub username: String,
    /// Which process serves it.
    pub instance: String,
    /// From which address it was opened.
    pub client_address: String,
    /// Whether what the device shows is recorded.
    pub recorded: bool,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEnding {
    /// One word: `shell_exited`, `browser_left`, `token_expired`, `killed`, `device_retired`, …
    pub reason: &'static str,
    /// Bytes from the device to the browser.
    pub output_bytes: i64,
    /// Bytes from the browser to the device.
    pub input_bytes: i64,
    /// What the recording's chain of hashes ended with; none when there is no whole recording.
    pub recording: Option<Digest>,
}

/// A session as it is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// What was authorised.
    pub session: NewSession,
    /// When it began.
    pub opened_at: Timestamp,
    /// When it ended; none while it lives.
    pub closed_at: Option<Timestamp>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Bytes from the device to the browser.
    pub output_bytes: i64,
    /// Bytes from the browser to the device.
    pub input_bytes: i64,
    /// What the recording's chain of hashes ended with.
    pub recording: Option<Digest>,
}

/// What decides whether an open session may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStanding {
    /// Which session.
    pub id: SessionId,
    /// Its device's state now.
    pub device_state: DeviceState,
    /// Its device's epoch now.
    pub device_epoch: i64,
    /// Its device's group now.
    pub group: GroupName,
    /// Whether someone ordered it to end.
    pub end_requested: bool,
}

/// The record of every session. A session that cannot be recorded does not begin.
#[async_trait]
pub trait SessionLedger: Send + Sync + 'static {
    /// Records that a session was authorised, before the device is dialled. `RegistryError::Unknown` if the device
    /// is no longer in service with the epoch that was authorised.
    async fn open_session(&self, session: &NewSession) -> Result<(), RegistryError>;

    /// Records its end; repeatable, the first end stays.
    async fn close_session(&self, session: &NewSession, ending: &SessionEnding) -> Result<(), StoreError>;

    /// Closes what a former life of this instance left open; returns how many.
    async fn close_orphans(&self, instance: &str) -> Result<u64, StoreError>;

    /// Reads the standing of an instance's open sessions, in one query.
    async fn standings(&self, instance: &str) -> Result<Vec<SessionStanding>, StoreError>;

    /// Finds a session.
    async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError>;

    /// Lists sessions, newest first, at most 1000; only this person's when `subject` is given.
    async fn sessions(&self, subject: Option<&str>, open_only: bool) -> Result<Vec<SessionRecord>, StoreError>;

    /// Orders an open session to end, whichever process serves it. `RegistryError::Unknown` if there is none.
    async fn request_end(&self, id: SessionId, by: &Actor) -> Result<(), RegistryError>;
}

/// What somebody wants to do at a device's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TerminalPurpose {
    /// Open a session, or come back to one's own.
    Open,
    /// See what somebody else's session shows.
    Watch,
    /// See it and type along.
    Join,
}

impl TerminalPurpose {
    /// Every purpose.
    pub const ALL: [Self; 3] = [Self::Open, Self::Watch, Self::Join];

    /// Returns the stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Watch => "watch",
            Self::Join => "join",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

/// What a one-time ticket stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What it is for. Its secret names the session.
    pub purpose: TerminalPurpose,
    /// Who asked for it.
    pub operator: Operator,
    /// Which device it opens.
    pub device_id: DeviceId,
    /// The browser origin it is bound to.
    pub origin: Option<String>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The access token of who asked for it, sealed with the ticket's secret: whoever reads the record cannot use it.
    pub sealed_token: Option<Vec<u8>>,
}

/// One-time tickets, on record so that any process may redeem them and none twice.
#[async_trait]
pub trait TicketOffice: Send + Sync + 'static {
    /// Records a ticket under the hash of its secret; removes those that ended.
    async fn issue_ticket(&self, secret: &Digest, ticket: &Ticket) -> Result<(), StoreError>;

    /// Takes a ticket out; none when it is unknown, used or ended.
    async fn redeem_ticket(&self, secret: &Digest) -> Result<Option<Ticket>, StoreError>;
}
