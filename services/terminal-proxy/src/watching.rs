//! Seeing what somebody else's session shows, and typing along where its person lets others. Every watcher reads the
//! session's log at their own pace, so that a slow one costs nobody anything and sees where it missed something.

mod audience;

use std::sync::Arc;

use common::domain::{Actor, AuditEvent, AuditTrail, DeviceId, SessionId, StoreError, TerminalPurpose};

pub(crate) use self::audience::Watcher;
use crate::access::{Access, AccessError, Credential, IssuedTicket, Visit, Visitor};
use crate::session::{Sessions, Watched};

/// Why nobody watches.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Another process serves the session.
    #[error("another process serves the session")]
    Elsewhere,
    #[error("the session has as many watchers as it may have")]
    Full,
    #[error("that somebody watches cannot be put on record")]
    NotOnRecord(#[source] StoreError),
}

/// Who wants to watch what, and from where.
#[derive(Debug)]
pub(crate) struct WatchRequest {
    pub(crate) session_id: SessionId,
    pub(crate) purpose: TerminalPurpose,
    pub(crate) origin: Option<String>,
    pub(crate) client: String,
}

impl WatchRequest {
    fn visit<'request>(&'request self, device_id: &'request DeviceId) -> Visit<'request> {
        Visit {
            device_id,
            purpose: self.purpose,
            origin: self.origin.as_deref(),
            client: &self.client,
        }
    }
}

/// The use case.
pub(crate) struct Watching {
    access: Arc<Access>,
    sessions: Arc<Sessions>,
    audit: Arc<dyn AuditTrail>,
}

impl Watching {
    pub(crate) fn new(access: Arc<Access>, sessions: Arc<Sessions>, audit: Arc<dyn AuditTrail>) -> Self {
        Self {
            access,
            sessions,
            audit,
        }
    }

    /// Issues a ticket to watch or to type along.
    pub(crate) async fn ticket(&self, visitor: Visitor, request: &WatchRequest) -> Result<IssuedTicket, WatchError> {
        Access::check_role(&visitor.operator, request.purpose)?;
        let watched = self.find(request).await?;
        let visit = request.visit(&watched.device_id);
        check_shared(&watched, request)?;
        Ok(self.access.issue_ticket(visitor, &visit, request.session_id).await?)
    }

    /// Lets somebody in, on record.
    pub(crate) async fn open(&self, credential: &Credential, request: &WatchRequest) -> Result<Watcher, WatchError> {
        let watched = self.find_for(credential, request).await?;
        let device_id = watched.device_id.clone();
        let visit = request.visit(&device_id);
        let grant = self.access.authorise(credential, &visit).await?;
        if let Credential::Ticket(_) = credential
            && grant.session_id != request.session_id
        {
            return Err(AccessError::InvalidTicket.into());
        }
        check_shared(&watched, request)?;
        let place = watched.take_place().ok_or(WatchError::Full)?;
        let may_type = request.purpose == TerminalPurpose::Join;
        let event = AuditEvent {
            actor: Actor::from(&grant.operator),
            action: if may_type { "session.joined" } else { "session.watched" },
            device_id: Some(device_id.clone()),
            detail: serde_json::json!({ "session": request.session_id, "client_address": request.client }),
        };
        self.audit.record(&event).await.map_err(WatchError::NotOnRecord)?;
        let token_ends = self.sessions.token_end(&grant.operator);
        let spectator = self.sessions.spectator(&grant, request.purpose);
        Ok(Watcher::new(place, spectator, may_type, token_ends))
    }

    /// Which sessions there are is said to nobody before it is known who asks.
    async fn find_for(&self, credential: &Credential, request: &WatchRequest) -> Result<Watched, WatchError> {
        match credential {
            Credential::Token(token) => {
                let operator = self.access.identify(token).await.map_err(AccessError::Token)?;
                Access::check_role(&operator, request.purpose)?;
                self.find(request).await
            }
            Credential::Ticket(_) => {
                let watched = Sessions::watched(&self.sessions, request.session_id);
                Ok(watched.ok_or(AccessError::InvalidTicket)?)
            }
        }
    }

    async fn find(&self, request: &WatchRequest) -> Result<Watched, WatchError> {
        if let Some(watched) = Sessions::watched(&self.sessions, request.session_id) {
            return Ok(watched);
        }
        if self
            .sessions
            .is_elsewhere(request.session_id)
            .await
            .map_err(AccessError::Store)?
        {
            return Err(WatchError::Elsewhere);
        }
        Err(AccessError::NotFound.into())
    }
}

/// What its person does not share is not there.
fn check_shared(watched: &Watched, request: &WatchRequest) -> Result<(), WatchError> {
    if request.purpose == TerminalPurpose::Join && !watched.is_shared() {
        return Err(AccessError::NotFound.into());
    }
    Ok(())
}
