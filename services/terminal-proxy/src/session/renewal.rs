//! A session goes on with a fresh token of the same person.

use common::domain::{DeviceId, Operator, SessionId, StoreError};
use tokio::time::Instant;

use super::{Ending, Sessions};
use crate::access::{AccessError, Grant};

/// Why a session does not go on with this token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    /// There is no such session, it has ended, or it is somebody else's.
    #[error("there is no such session of this person")]
    Unknown,
    /// Another process serves it.
    #[error("another process serves the session")]
    Elsewhere,
    /// The person may no longer open the device; the session ends.
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Finds the device of a session of this process, if it is this person's.
    pub(crate) async fn device_of(&self, person: &Operator, id: SessionId) -> Result<DeviceId, RenewError> {
        let device_id = {
            let live = self.live();
            let own = live.get(id).filter(|live| live.operator.subject == person.subject);
            own.map(|live| live.device_id.clone())
        };
        if let Some(device_id) = device_id {
            return Ok(device_id);
        }
        let record = self.ports.ledger.session(id).await?;
        let is_own = record.is_some_and(|record| record.session.subject == person.subject);
        Err(if is_own && self.is_elsewhere(id).await? {
            RenewError::Elsewhere
        } else {
            RenewError::Unknown
        })
    }

    /// Lets a session live as long as the fresh token, and judges it by that token from now on.
    pub(crate) fn extend(&self, grant: Grant) -> Result<(), RenewError> {
        let ends = self.token_end(&grant.operator);
        let mut sessions = self.live();
        let live = sessions.get_mut(grant.session_id).ok_or(RenewError::Unknown)?;
        if live.device_epoch != grant.device.epoch {
            drop(sessions);
            self.end_access(grant.session_id);
            return Err(AccessError::NotFound.into());
        }
        live.operator = grant.operator;
        live.badge = grant.badge;
        live.line.extend(ends);
        Ok(())
    }

    /// Ends a session whose person may no longer open the device.
    pub(crate) fn end_access(&self, id: SessionId) {
        self.stop(id, Ending::AccessLost);
    }

    /// When a person's token ends, by the clock that sessions wait by.
    pub(crate) fn token_end(&self, operator: &Operator) -> Instant {
        let left = operator.expires_at - self.ports.clock.now();
        Instant::now() + left.try_into().unwrap_or_default()
    }
}
