//! Who may open which device: the one function that every door to a shell asks.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::chassis::token::{TokenError, TokenVerifier};
use common::domain::{
    Clock, Device, DeviceDirectory, DeviceId, Digest, Operator, Role, SessionId, StoreError, Ticket, TicketOffice,
    Timestamp,
};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::ports::Storage;

/// Random bytes of a ticket, behind the id of the session that it opens.
const TICKET_BYTES: usize = 32;

/// Bytes of a session's id.
const SESSION_ID_BYTES: usize = 16;

/// What a person shows at the door.
#[derive(Debug)]
pub(crate) enum Credential {
    /// An access token.
    Token(SecretString),
    /// A one-time ticket.
    Ticket(SecretString),
}

/// A person and a device that they may open now.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) operator: Operator,
    pub(crate) device: Device,
    /// The name of the session that this may become.
    pub(crate) session_id: SessionId,
}

/// Why the door stays closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Unknown, used, too old, for another device or from another page; which of these is nobody's business.
    #[error("the ticket is not valid")]
    InvalidTicket,
    #[error("the person is no operator")]
    NoOperator,
    /// The device is unknown, of another fleet, or not in service: one answer for all.
    #[error("there is no such device for this person")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A ticket that was issued.
#[derive(Debug)]
pub(crate) struct IssuedTicket {
    pub(crate) secret: SecretString,
    pub(crate) expires_at: Timestamp,
    /// The name of the session that it opens: a page cannot read the headers of an upgrade.
    pub(crate) session_id: SessionId,
    /// How long that session may live without a fresh token.
    pub(crate) session_lifetime: Duration,
}

/// The door.
pub(crate) struct Access {
    verifier: Arc<TokenVerifier>,
    directory: Arc<dyn DeviceDirectory>,
    tickets: Arc<dyn TicketOffice>,
    clock: Arc<dyn Clock>,
    ticket_lifetime: Duration,
}

impl Access {
    pub(crate) fn new(
        verifier: Arc<TokenVerifier>,
        storage: &Storage,
        clock: Arc<dyn Clock>,
        ticket_lifetime: Duration,
    ) -> Self {
        Self {
            verifier,
            directory: Arc::clone(&storage.directory),
            tickets: Arc::clone(&storage.tickets),
            clock,
            ticket_lifetime,
        }
    }

    /// Says who holds a token.
    pub(crate) async fn identify(&self, token: &SecretString) -> Result<Operator, TokenError> {
        self.verifier.verify(token.expose_secret()).await
    }

    /// Decides whether the holder of a credential may open a device now. `origin` is the page that asks.
    pub(crate) async fn authorise(
        &self,
        credential: &Credential,
        device_id: &DeviceId,
        origin: Option<&str>,
    ) -> Result<Grant, AccessError> {
        match credential {
            Credential::Token(token) => {
                let operator = self.identify(token).await?;
                self.grant(operator, device_id, SessionId::generate()).await
            }
            Credential::Ticket(secret) => {
                let operator = self.redeem(secret, device_id, origin).await?;
                let session_id = session_of(secret).ok_or(AccessError::InvalidTicket)?;
                self.grant(operator, device_id, session_id).await
            }
        }
    }

    /// Decides whether a session may go on with a fresh token of its person.
    pub(crate) async fn authorise_again(
        &self,
        operator: Operator,
        device_id: &DeviceId,
        session_id: SessionId,
    ) -> Result<Grant, AccessError> {
        self.grant(operator, device_id, session_id).await
    }

    /// How long the token behind a person is good from now on.
    pub(crate) fn time_left(&self, operator: &Operator) -> Duration {
        (operator.expires_at - self.clock.now()).try_into().unwrap_or_default()
    }

    /// Issues a ticket to a person who may open the device now; redeeming it asks again.
    pub(crate) async fn issue_ticket(
        &self,
        operator: Operator,
        device_id: &DeviceId,
        origin: Option<&str>,
    ) -> Result<IssuedTicket, AccessError> {
        let Grant {
            operator,
            device,
            session_id,
        } = self.grant(operator, device_id, SessionId::generate()).await?;
        let session_lifetime = self.time_left(&operator);
        let secret = fresh_ticket(session_id);
        let expires_at = self.clock.now() + self.ticket_lifetime;
        let ticket = Ticket {
            operator,
            device_id: device.id,
            origin: origin.map(str::to_owned),
            expires_at,
        };
        self.tickets.issue_ticket(&digest(&secret), &ticket).await?;
        Ok(IssuedTicket {
            secret,
            expires_at,
            session_id,
            session_lifetime,
        })
    }

    /// A ticket is spent by the first try, whatever comes of it.
    async fn redeem(
        &self,
        secret: &SecretString,
        device_id: &DeviceId,
        origin: Option<&str>,
    ) -> Result<Operator, AccessError> {
        let ticket = self
            .tickets
            .redeem_ticket(&digest(secret))
            .await?
            .ok_or(AccessError::InvalidTicket)?;
        let now = self.clock.now();
        let is_for_this = ticket.device_id == *device_id && ticket.origin.as_deref() == origin;
        if is_for_this && now < ticket.expires_at && now < ticket.operator.expires_at {
            Ok(ticket.operator)
        } else {
            Err(AccessError::InvalidTicket)
        }
    }

    async fn grant(
        &self,
        operator: Operator,
        device_id: &DeviceId,
        session_id: SessionId,
    ) -> Result<Grant, AccessError> {
        if operator.role < Role::Operator {
            return Err(AccessError::NoOperator);
        }
        let device = self.directory.find(device_id).await?.ok_or(AccessError::NotFound)?;
        if operator.may_open(&device) {
            Ok(Grant {
                operator,
                device,
                session_id,
            })
        } else {
            Err(AccessError::NotFound)
        }
    }
}

/// The session's id stands in front of the secret. Nobody can exchange it: the hash on record is that of both.
fn fresh_ticket(session_id: SessionId) -> SecretString {
    let mut bytes = [0_u8; SESSION_ID_BYTES + TICKET_BYTES];
    let (id, secret) = bytes.split_at_mut(SESSION_ID_BYTES);
    id.copy_from_slice(session_id.0.as_bytes());
    rand::fill(secret).expect("the operating system gives randomness");
    URL_SAFE_NO_PAD.encode(bytes).into()
}

fn session_of(ticket: &SecretString) -> Option<SessionId> {
    let bytes = URL_SAFE_NO_PAD.decode(ticket.expose_secret()).ok()?;
    let id = bytes.first_chunk::<SESSION_ID_BYTES>()?;
    Some(SessionId(Uuid::from_bytes(*id)))
}

fn digest(secret: &SecretString) -> Digest {
    Digest::of(secret.expose_secret().as_bytes())
}
