//! Opening a terminal: the order of the steps is the policy. Nothing is dialled before it is allowed and on
//! record, and the browser is not upgraded before the device's ttyd is there.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{DeviceId, SessionId, TerminalPurpose};

use crate::access::{Access, AccessError, Credential, Grant, Visit, Visitor};
use crate::addresses::Addresses;
use crate::session::{BeginError, Browser, Comeback, NoSeat, RenewError, Resume, Session, Sessions};
use crate::upstream::{DeviceConnection, Upstream, UpstreamError};

/// Who wants to open what, and from where.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) device_id: DeviceId,
    pub(crate) credential: Credential,
    /// The page that asks.
    pub(crate) origin: Option<String>,
    /// The client's address, for the record.
    pub(crate) client: String,
    /// Whether output is to be numbered, so that the person may come back.
    pub(crate) is_numbered: bool,
    /// The session to go on with, if it is still there.
    pub(crate) resume: Option<Resume>,
}

impl OpenRequest {
    fn visit(&self) -> Visit<'_> {
        Visit {
            device_id: &self.device_id,
            purpose: TerminalPurpose::Open,
            origin: self.origin.as_deref(),
            client: &self.client,
        }
    }
}

/// Why no terminal opens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The device's record holds an address that no device of the network can have: somebody changed it.
    #[error("the device's address is not one of the device network")]
    InvalidAddress,
    #[error(transparent)]
    Begin(#[from] BeginError),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// The use case.
pub(crate) struct Terminals {
    access: Arc<Access>,
    addresses: Addresses,
    sessions: Arc<Sessions>,
    upstream: Arc<Upstream>,
}

impl Terminals {
    pub(crate) fn new(
        access: Arc<Access>,
        addresses: Addresses,
        sessions: Arc<Sessions>,
        upstream: Arc<Upstream>,
    ) -> Self {
        Self {
            access,
            addresses,
            sessions,
            upstream,
        }
    }

    pub(crate) async fn open(&self, request: &OpenRequest) -> Result<OpenTerminal, OpenError> {
        let grant = self.access.authorise(&request.credential, &request.visit()).await?;
        if let Some(resume) = request.resume.filter(|_| request.is_numbered)
            && let Some(comeback) = self.sessions.come_back(&grant, resume, &request.client).await?
        {
            return Ok(OpenTerminal::Running(comeback));
        }
        let begun = self.begin(&grant, request).await;
        if let Some(reason) = begun.as_ref().err().and_then(refusal) {
            let visit = request.visit();
            self.access.record_no_terminal(&grant.operator, &visit, reason).await;
        }
        begun
    }

    async fn begin(&self, grant: &Grant, request: &OpenRequest) -> Result<OpenTerminal, OpenError> {
        let address = self.addresses.of_device(grant.device.address).await;
        let address = address.map_err(AccessError::Store)?.ok_or(OpenError::InvalidAddress)?;
        let session = self.sessions.begin(grant, request.client.clone()).await?;
        match self.upstream.connect(address, &grant.operator).await {
            Ok(device) => Ok(OpenTerminal::New {
                session: Box::new(session),
                device,
                is_numbered: request.is_numbered,
            }),
            Err(error) => {
                session.fail(failure_reason(&error)).await;
                Err(error.into())
            }
        }
    }
}

/// What a fresh token does for a session.
impl Terminals {
    /// Asks the one question again, and returns how long the session may live from now on. A fresh token that
    /// no longer opens the device ends the session.
    pub(crate) async fn renew(&self, visitor: Visitor, id: SessionId, client: &str) -> Result<Duration, RenewError> {
        let device_id = self.sessions.device_of(&visitor.operator, id).await?;
        let lifetime = self.access.time_left(&visitor.operator);
        let visit = Visit {
            device_id: &device_id,
            purpose: TerminalPurpose::Open,
            origin: None,
            client,
        };
        match self.access.authorise_again(visitor, &visit, id).await {
            Ok(grant) => self.sessions.extend(grant).map(|()| lifetime),
            Err(error @ (AccessError::NoRole | AccessError::NotFound)) => {
                self.sessions.end_access(id);
                Err(error.into())
            }
            Err(error @ (AccessError::Token(_) | AccessError::InvalidTicket | AccessError::Store(_))) => {
                Err(error.into())
            }
        }
    }
}

/// A terminal whose device is ready; what is missing is the browser.
pub(crate) enum OpenTerminal {
    /// A new process.
    New {
        session: Box<Session>,
        device: DeviceConnection,
        is_numbered: bool,
    },
    /// The person's process of before.
    Running(Comeback),
}

impl OpenTerminal {
    pub(crate) fn session_id(&self) -> SessionId {
        match self {
            Self::New { session, .. } => session.id(),
            Self::Running(comeback) => comeback.session_id(),
        }
    }

    /// Relays until the end.
    pub(crate) async fn run(self, browser: Browser) {
        match self {
            Self::New {
                session,
                device,
                is_numbered,
            } => session.run(browser, is_numbered, device).await,
            Self::Running(comeback) => comeback.run(browser).await,
        }
    }

    /// The browser did not come.
    pub(crate) async fn give_up(self) {
        match self {
            Self::New { session, .. } => session.fail("browser_lost").await,
            Self::Running(_) => {} // it waits for the next try
        }
    }
}

/// What is on record of a person who could have had a terminal; what a session that began has on record itself is none.
fn refusal(error: &OpenError) -> Option<&'static str> {
    match error {
        OpenError::InvalidAddress => Some("device_address_invalid"),
        OpenError::Begin(BeginError::NoSeat(no_seat)) => match no_seat {
            NoSeat::TooManySessions => Some("too_many_sessions"),
            NoSeat::DeviceBusy => Some("device_busy"),
            NoSeat::AtCapacity => Some("at_capacity"),
            NoSeat::Draining | NoSeat::DirectoryLost => None,
        },
        OpenError::Access(_)
        | OpenError::Begin(BeginError::DeviceGone | BeginError::NotOnRecord(_) | BeginError::NotRecorded(_))
        | OpenError::Upstream(_) => None,
    }
}

fn failure_reason(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Dial(_) => "device_unreachable",
        UpstreamError::BadAnswer(_) => "device_bad_answer",
    }
}
