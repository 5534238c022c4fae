//! Without a record there is no shell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

#[tokio::test]
async fn without_the_database_sessions_end_after_a_while_and_begin_again_when_it_is_back() {
    let is_away = Arc::new(AtomicBool::new(false));
    let world = World::build(
        |settings| settings.limits.directory_patience_seconds = 3,
        |storage| {
            storage.ledger = Arc::new(SometimesAway {
                ledger: Arc::clone(&storage.ledger),
                is_away: Arc::clone(&is_away),
            });
        },
        None,
    )
    .await;
    let mut terminal = world.opened("pump-1").await;
    is_away.store(true, Ordering::Relaxed);
    terminal.say("0still here").await;
    terminal.hear("0still here").await;

    assert_eq!(terminal.closed().await, (1012, "directory-unavailable".to_owned()));
    let operator = bearer(&world.token("operator"));
    let refused = world.refused("/terminal/pump-1", &operator).await;
    assert_eq!(refused.problem(), (503, "unavailable".to_owned()));
    assert!(refused.header("retry-after").is_some());

    is_away.store(false, Ordering::Relaxed);
    assert_eq!(world.session_end().await, "directory_lost");
    let opened = async {
        while world.get("/doctor/pump-1", &world.token("operator")).await.json()["chain"][7]["ok"] != true {}
        world.opened("pump-1").await
    };
    tokio::time::timeout(Duration::from_secs(30), opened).await.unwrap();
}

#[tokio::test]
async fn a_person_for_whom_there_is_no_seat_is_on_record_once_a_minute() {
    let world = World::with(|settings| settings.limits.max_sessions_per_device = 1).await;
    let _terminal = world.opened("pump-1").await;
    let operator = bearer(&world.token("operator"));

    for _ in 0..3 {
        let refused = world.refused("/terminal/pump-1", &operator).await;
        assert_eq!(refused.problem(), (409, "device-busy".to_owned()));
    }

    let refusals = world.actions().await;
    assert_eq!(
        refusals.iter().filter(|action| *action == "terminal.refused").count(),
        1
    );
}

/// A ledger whose database is away when the test says so.
struct SometimesAway {
    ledger: Arc<dyn SessionLedger>,
    is_away: Arc<AtomicBool>,
}

impl SometimesAway {
    fn here(&self) -> Result<&dyn SessionLedger, StoreError> {
        if self.is_away.load(Ordering::Relaxed) {
            Err(StoreError::Unavailable {
                source: "connection refused".into(),
            })
        } else {
            Ok(self.ledger.as_ref())
        }
    }
}

#[async_trait]
impl SessionLedger for SometimesAway {
    async fn open_session(&self, session: &NewSession) -> Result<(), RegistryError> {
        self.here()?.open_session(session).await
    }

    async fn close_session(&self, session: &NewSession, ending: &SessionEnding) -> Result<(), StoreError> {
        self.here()?.close_session(session, ending).await
    }

    async fn close_orphans(&self, instance: &str) -> Result<u64, StoreError> {
        self.here()?.close_orphans(instance).await
    }

    async fn standings(&self, instance: &str) -> Result<Vec<SessionStanding>, StoreError> {
        self.here()?.standings(instance).await
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        self.here()?.session(id).await
    }

    async fn sessions(&self, subject: Option<&str>, open_only: bool) -> Result<Vec<SessionRecord>, StoreError> {
        self.here()?.sessions(subject, open_only).await
    }

    async fn request_end(&self, id: SessionId, by: &Actor) -> Result<(), RegistryError> {
        self.here()?.request_end(id, by).await
    }
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

    async fn close_session(&self, _: &NewSession, _: &SessionEnding) -> Result<(), StoreError> {
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
