//! Who may open which device: the one function that every door to a shell asks.

mod refusals;
mod seal;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::chassis::problem::error_chain;
use common::chassis::token::{TokenError, TokenVerifier};
use common::domain::{
    Actor, AuditEvent, AuditTrail, Clock, Device, DeviceDirectory, DeviceId, Digest, Operator, Role, SessionId,
    SessionRecord, StoreError, TerminalPurpose, Ticket, TicketOffice, Timestamp,
};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::warn;
use uuid::Uuid;

use self::refusals::{Kind, Refusals};
use self::seal::{seal, unseal};
use crate::ports::Storage;
use crate::session::Badge;

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

/// Where somebody wants to go, and where they come from.
#[derive(Debug, Clone)]
pub(crate) struct Visit<'request> {
    pub(crate) device_id: &'request DeviceId,
    pub(crate) purpose: TerminalPurpose,
    /// The page that asks.
    pub(crate) origin: Option<&'request str>,
    /// The client's address, for the record.
    pub(crate) client: &'request str,
}

/// A person and the token that says so.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) operator: Operator,
    pub(crate) badge: Badge,
}

/// A person and a device that they may open now.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) operator: Operator,
    pub(crate) badge: Badge,
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
    #[error("the person's role is too small")]
    NoRole,
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
    audit: Arc<dyn AuditTrail>,
    clock: Arc<dyn Clock>,
    ticket_lifetime: Duration,
    refusals: Refusals,
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
            audit: Arc::clone(&storage.audit),
            clock,
            ticket_lifetime,
            refusals: Refusals::default(),
        }
    }

    /// Says who holds a token.
    pub(crate) async fn identify(&self, token: &SecretString) -> Result<Operator, TokenError> {
        self.verifier.verify(token.expose_secret()).await
    }

    /// Says who holds a token, and keeps the token.
    pub(crate) async fn admit(&self, token: &SecretString) -> Result<Visitor, TokenError> {
        Ok(Visitor {
            operator: self.identify(token).await?,
            badge: Arc::new(token.clone()),
        })
    }

    /// Decides whether the holder of a credential may do now what they come for. A ticket names the session.
    pub(crate) async fn authorise(&self, credential: &Credential, visit: &Visit<'_>) -> Result<Grant, AccessError> {
        match credential {
            Credential::Token(token) => {
                let visitor = self.admit(token).await?;
                self.grant(visitor, visit, SessionId::generate()).await
            }
            Credential::Ticket(secret) => {
                let visitor = self.redeem(secret, visit).await?;
                let session_id = session_of(secret).ok_or(AccessError::InvalidTicket)?;
                self.grant(visitor, visit, session_id).await
            }
        }
    }

    /// Decides whether a session may go on with a fresh token of its person.
    pub(crate) async fn authorise_again(
        &self,
        visitor: Visitor,
        visit: &Visit<'_>,
        session_id: SessionId,
    ) -> Result<Grant, AccessError> {
        self.grant(visitor, visit, session_id).await
    }

    /// How long the token behind a person is good from now on.
    pub(crate) fn time_left(&self, operator: &Operator) -> Duration {
        (operator.expires_at - self.clock.now()).try_into().unwrap_or_default()
    }

    /// Issues a ticket to a person who may do now what they come for; redeeming it asks again.
    pub(crate) async fn issue_ticket(
        &self,
        visitor: Visitor,
        visit: &Visit<'_>,
        session_id: SessionId,
    ) -> Result<IssuedTicket, AccessError> {
        let Grant {
            operator,
            badge,
            device,
            session_id,
        } = self.grant(visitor, visit, session_id).await?;
        let session_lifetime = self.time_left(&operator);
        let secret = fresh_ticket(session_id);
        let expires_at = self.clock.now() + self.ticket_lifetime;
        let ticket = Ticket {
            purpose: visit.purpose,
            operator,
            device_id: device.id,
            origin: visit.origin.map(str::to_owned),
            expires_at,
            sealed_token: Some(seal(&badge, &secret)),
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
    async fn redeem(&self, secret: &SecretString, visit: &Visit<'_>) -> Result<Visitor, AccessError> {
        let ticket = self
            .tickets
            .redeem_ticket(&digest(secret))
            .await?
            .ok_or(AccessError::InvalidTicket)?;
        let now = self.clock.now();
        let is_for_this = ticket.device_id == *visit.device_id
            && ticket.origin.as_deref() == visit.origin
            && ticket.purpose == visit.purpose;
        let token = ticket.sealed_token.and_then(|sealed| unseal(&sealed, secret));
        match token {
            Some(token) if is_for_this && now < ticket.expires_at && now < ticket.operator.expires_at => Ok(Visitor {
                operator: ticket.operator,
                badge: Arc::new(token),
            }),
            Some(_) | None => Err(AccessError::InvalidTicket),
        }
    }

    /// The one question, whatever the door. A no to somebody who is known is put on record.
    async fn grant(&self, visitor: Visitor, visit: &Visit<'_>, session_id: SessionId) -> Result<Grant, AccessError> {
        let Visitor { operator, badge } = visitor;
        let decided = self.decide(&operator, visit).await;
        match decided {
            Ok(device) => Ok(Grant {
                operator,
                badge,
                device,
                session_id,
            }),
            Err(error) => {
                self.record_refusal(&operator, visit, &error).await;
                Err(error)
            }
        }
    }

    /// Watching and typing along is shown to admins and operators; whose session it is decides the rest.
    pub(crate) fn least_role(purpose: TerminalPurpose) -> Role {
        match purpose {
            TerminalPurpose::Open | TerminalPurpose::Join => Role::Operator,
            TerminalPurpose::Watch => Role::Admin,
        }
    }

    /// The part of the question that needs no device.
    pub(crate) fn check_role(operator: &Operator, purpose: TerminalPurpose) -> Result<(), AccessError> {
        if operator.role < Self::least_role(purpose) {
            Err(AccessError::NoRole)
        } else {
            Ok(())
        }
    }

    async fn decide(&self, operator: &Operator, visit: &Visit<'_>) -> Result<Device, AccessError> {
        Self::check_role(operator, visit.purpose)?;
        let device = self
            .directory
            .find_with_others(visit.device_id)
            .await?
            .ok_or(AccessError::NotFound)?;
        if operator.may_open(&device) {
            Ok(device)
        } else {
            Err(AccessError::NotFound)
        }
    }

    /// Decides whether somebody may see a recording: admins may, also of devices that are gone. On record either way.
    pub(crate) async fn authorise_replay(
        &self,
        operator: &Operator,
        session: &SessionRecord,
        client: &str,
    ) -> Result<(), AccessError> {
        let is_allowed = operator.role == Role::Admin;
        let event = AuditEvent {
            actor: Actor::from(operator),
            action: if is_allowed {
                "recording.played"
            } else {
                "recording.refused"
            },
            device_id: Some(session.session.device_id.clone()),
            detail: serde_json::json!({ "session": session.session.id, "client_address": client }),
        };
        self.audit.record(&event).await?;
        if is_allowed { Ok(()) } else { Err(AccessError::NotFound) }
    }

    /// Puts on record that somebody who may open the device gets no terminal now; of each kind once a minute.
    pub(crate) async fn record_no_terminal(&self, operator: &Operator, visit: &Visit<'_>, reason: &'static str) {
        let kind = Kind {
            subject: operator.subject.clone(),
            device_id: visit.device_id.clone(),
            reason,
        };
        let Some(more) = self.refusals.due(kind) else { return };
        self.record_no(
            operator,
            visit,
            serde_json::json!({ "reason": reason, "more_of_the_kind_before": more }),
        )
        .await;
    }

    async fn record_refusal(&self, operator: &Operator, visit: &Visit<'_>, error: &AccessError) {
        let reason = match error {
            AccessError::NoRole => "no_role",
            AccessError::NotFound => "no_such_device_for_this_person",
            AccessError::Token(_) | AccessError::InvalidTicket | AccessError::Store(_) => return,
        };
        self.record_no(operator, visit, serde_json::json!({ "reason": reason }))
            .await;
    }

    async fn record_no(&self, operator: &Operator, visit: &Visit<'_>, mut detail: serde_json::Value) {
        detail["purpose"] = visit.purpose.as_str().into();
        detail["client_address"] = visit.client.into();
        let event = AuditEvent {
            actor: Actor::from(operator),
            action: "terminal.refused",
            device_id: Some(visit.device_id.clone()),
            detail,
        };
        if let Err(failure) = self.audit.record(&event).await {
            warn!(error = error_chain(&failure), "A refusal is not on record");
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
