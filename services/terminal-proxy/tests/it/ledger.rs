//! Without a record there is no shell.

use std::sync::Arc;

use async_trait::async_trait;
use common::domain::{
    Actor, NewSession, RegistryError, SessionEnding, SessionId, SessionLedger, SessionRecord, SessionStanding,
    StoreError,
};

use crate::support::{World, bearer};

#[tokio::test]
async fn a_session_that_cannot_be_recorded_does_not_begin() {
    let world = World::with_storage(|storage| storage.ledger = Arc::new(FullDisk)).await;

    let answer = world
        .refused("/terminal/pump-1", &bearer(&world.token("operator")))
        .await;

    assert_eq!(answer.problem(), (503, "audit-unavailable".to_owned()));
    assert!(answer.header("retry-after").is_some());
    assert!(
        world.device.look(|seen| seen.heads.is_empty()),
        "the device was dialled without a record"
    );
}

/// A ledger that can be read and not written.
struct FullDisk;

fn no_space() -> StoreError {
    StoreError::Unavailable {
        source: "no space left on device".into(),
    }
}

#[async_trait]
impl SessionLedger for FullDisk {
    async fn open_session(&self, _: &NewSession) -> Result<(), RegistryError> {
        Err(no_space().into())
    }

    async fn close_session(&self, _: SessionId, _: &SessionEnding) -> Result<(), StoreError> {
        Err(no_space())
    }

    async fn close_orphans(&self, _: &str) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn standings(&self, _: &str) -> Result<Vec<SessionStanding>, StoreError> {
        Ok(Vec::new())
    }

    async fn session(&self, _: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        Ok(None)
    }

    async fn sessions(&self, _: Option<&str>, _: bool) -> Result<Vec<SessionRecord>, StoreError> {
        Ok(Vec::new())
    }

    async fn request_end(&self, _: SessionId, _: &Actor) -> Result<(), RegistryError> {
        Err(no_space().into())
    }
}
