//! Opening a terminal: the order of the steps is the policy. Nothing is dialled before it is allowed and on
//! record, and the browser is not upgraded before the device's ttyd is there.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{DeviceId, Operator, SessionId};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::access::{Access, AccessError, Credential};
use crate::addresses::Addresses;
use crate::session::{BeginError, RenewError, Session, Sessions};
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
        let origin = request.origin.as_deref();
        let grant = self
            .access
            .authorise(&request.credential, &request.device_id, origin)
            .await?;
        let address = self.addresses.of_device(grant.device.address).await;
        let address = address.map_err(AccessError::Store)?.ok_or(OpenError::InvalidAddress)?;
        let session = self.sessions.begin(&grant, request.client.clone()).await?;
        match self.upstream.connect(address, &grant.operator).await {
            Ok(device) => Ok(OpenTerminal { session, device }),
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
    pub(crate) async fn renew(&self, operator: Operator, id: SessionId) -> Result<Duration, RenewError> {
        let device_id = self.sessions.device_of(&operator, id).await?;
        let lifetime = self.access.time_left(&operator);
        match self.access.authorise_again(operator, &device_id, id).await {
            Ok(grant) => self.sessions.extend(grant).map(|()| lifetime),
            Err(error @ (AccessError::NoOperator | AccessError::NotFound)) => {
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
pub(crate) struct OpenTerminal {
    session: Session,
    device: DeviceConnection,
}

impl OpenTerminal {
    pub(crate) fn session_id(&self) -> SessionId {
        self.session.id()
    }

    /// Relays until the end.
    pub(crate) async fn run<B: AsyncRead + AsyncWrite + Unpin>(self, browser: B) {
        self.session.run(browser, self.device).await;
    }

    /// The browser did not come.
    pub(crate) async fn give_up(self) {
        self.session.fail("browser_lost").await;
    }
}

fn failure_reason(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::Dial(_) => "device_unreachable",
        UpstreamError::BadAnswer(_) => "device_bad_answer",
    }
}
