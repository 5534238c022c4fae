use std::time::Duration;

use common::domain::{
    AuditTrail, Clock, DeviceState, Digest, NewSession, RegistryError, SessionEnding, SessionId, SessionLedger,
};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::databases::TestDatabase;
use super::fleet::{Fleet, admin, session_on};

const EXITED: SessionEnding = SessionEnding {
    reason: "shell_exited",
    output_bytes: 1024,
    input_bytes: 7,
    recording: Some(Digest([7; 32])),
};

pub(crate) async fn a_session_is_on_record_from_its_beginning_to_its_first_end<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let session = session_on(&fleet.enroll("pump-7").await);
    fleet.store.open_session(&session).await.unwrap();
    let opened = fleet.store.session(session.id).await.unwrap().unwrap();
    assert_eq!((&opened.session, opened.opened_at), (&session, fleet.clock.now()));
    assert_eq!((opened.closed_at, opened.reason), (None, None));

    fleet.clock.advance(Duration::from_mins(1));
    fleet.store.close_session(&session, &EXITED).await.unwrap();
    let second = SessionEnding {
        reason: "killed",
        output_bytes: 0,
        input_bytes: 0,
        recording: None,
    };
    fleet.store.close_session(&session, &second).await.unwrap();

    let closed = fleet.store.session(session.id).await.unwrap().unwrap();
    assert_eq!(
        (closed.closed_at, closed.reason.as_deref()),
        (Some(fleet.clock.now()), Some("shell_exited"))
    );
    assert_eq!((closed.output_bytes, closed.input_bytes), (1024, 7));
    assert_eq!(closed.recording, Some(Digest([7; 32])));
    let actions = fleet.actions().await;
    assert_eq!(actions[4..], ["session.opened", "session.closed"]);
    assert_eq!(fleet.store.session(SessionId::generate()).await.unwrap(), None);
    fleet.end().await;
}

pub(crate) async fn a_session_follows_the_standing_of_its_device<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let device = fleet.enroll("pump-7").await;
    let session = session_on(&device);
    fleet.store.open_session(&session).await.unwrap();
    let standing = fleet.store.standings("proxy-1").await.unwrap().remove(0);
    assert_eq!(
        (standing.id, standing.device_state),
        (session.id, DeviceState::Enrolled)
    );
    assert_eq!(
        (standing.device_epoch, standing.group, standing.end_requested),
        (device.epoch, device.group, false)
    );
    assert_eq!(fleet.store.standings("proxy-2").await.unwrap(), []);

    fleet.store.request_end(session.id, &admin()).await.unwrap();
    fleet.quarantine("pump-7").await.unwrap();
    let standing = fleet.store.standings("proxy-1").await.unwrap().remove(0);
    assert_eq!(
        (standing.device_state, standing.end_requested),
        (DeviceState::Quarantined, true)
    );
    assert_eq!(standing.device_epoch, device.epoch + 1);

    fleet.store.close_session(&session, &EXITED).await.unwrap();
    assert_eq!(fleet.store.standings("proxy-1").await.unwrap(), []);
    let ended = fleet.store.request_end(session.id, &admin()).await;
    assert!(matches!(ended, Err(RegistryError::Unknown)), "{ended:?}");
    fleet.end().await;
}

pub(crate) async fn a_session_begins_only_with_the_device_that_was_authorised<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let before = fleet.enroll("pump-7").await;
    let refuse = async |session: NewSession| {
        let refused = fleet.store.open_session(&session).await;
        assert!(matches!(refused, Err(RegistryError::Unknown)), "{refused:?}");
        assert_eq!(fleet.store.session(session.id).await.unwrap(), None);
    };

    let quarantined = fleet.quarantine("pump-7").await.unwrap();
    refuse(session_on(&quarantined)).await;
    let released = fleet.release("pump-7").await.unwrap();
    refuse(session_on(&before)).await;
    fleet.store.open_session(&session_on(&released)).await.unwrap();
    let retired = fleet.retire("pump-7").await.unwrap().device;
    refuse(session_on(&retired)).await;

    let actions = fleet.actions().await;
    assert_eq!(actions.iter().filter(|action| *action == "session.opened").count(), 1);
    fleet.end().await;
}

pub(crate) async fn what_a_dead_process_left_open_is_closed_by_the_next<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let device = fleet.enroll("pump-7").await;
    let mine = session_on(&device);
    let others = NewSession {
        instance: "proxy-2".to_owned(),
        ..session_on(&device)
    };
    fleet.store.open_session(&mine).await.unwrap();
    fleet.store.open_session(&others).await.unwrap();

    assert_eq!(fleet.store.close_orphans("proxy-1").await.unwrap(), 1);
    assert_eq!(fleet.store.close_orphans("proxy-1").await.unwrap(), 0);

    let closed = fleet.store.session(mine.id).await.unwrap().unwrap();
    assert_eq!(closed.reason.as_deref(), Some("process_lost"));
    assert_eq!(fleet.store.session(others.id).await.unwrap().unwrap().closed_at, None);
    fleet.end().await;
}

pub(crate) async fn people_see_their_own_sessions<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let device = fleet.enroll("pump-7").await;
    let adas = session_on(&device);
    fleet.store.open_session(&adas).await.unwrap();
    fleet.clock.advance(Duration::from_secs(1));
    let bobs = NewSession {
        subject: "591785b7".to_owned(),
        ..session_on(&device)
    };
    fleet.store.open_session(&bobs).await.unwrap();
    fleet.store.close_session(&adas, &EXITED).await.unwrap();
    let list = async |subject, open_only| {
        let sessions = fleet.store.sessions(subject, open_only).await.unwrap();
        sessions.into_iter().map(|record| record.session.id).collect::<Vec<_>>()
    };

    assert_eq!(list(None, false).await, [bobs.id, adas.id]);
    assert_eq!(list(None, true).await, [bobs.id]);
    assert_eq!(list(Some("b1946ac9"), false).await, [adas.id]);
    assert_eq!(list(Some("b1946ac9"), true).await, []);
    fleet.end().await;
}

pub(crate) async fn sessions_that_begin_and_end_at_once_are_all_on_record<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let device = fleet.enroll("pump-7").await;
    let mut tasks = JoinSet::new();
    for index in 0..200 {
        let (store, session) = (fleet.store.clone(), session_on(&device));
        tasks.spawn(async move {
            let opened = store.open_session(&session);
            if index % 10 == 0 {
                // Callers who leave take nobody's record with them.
                drop(timeout(Duration::from_micros(100), opened).await);
            } else {
                opened.await.unwrap();
            }
            store.close_session(&session, &EXITED).await.unwrap();
        });
    }
    tasks.join_all().await;

    assert_eq!(fleet.store.sessions(None, true).await.unwrap(), []);
    let actions = fleet.actions().await;
    let count = |wanted: &str| actions.iter().filter(|action| *action == wanted).count();
    assert!(count("session.opened") >= 180);
    assert_eq!(count("session.opened"), count("session.closed"));
    assert_eq!(fleet.store.verify_audit().await.unwrap(), [""; 0]);
    fleet.end().await;
}

pub(crate) async fn a_session_that_must_not_begin_stands_in_no_others_way<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let gone = fleet.enroll("pump-7").await;
    fleet.quarantine("pump-7").await.unwrap();
    let device = fleet.enroll("pump-8").await;
    let mut tasks = JoinSet::new();
    for index in 0..50 {
        let device = if index % 10 == 3 { &gone } else { &device };
        let (store, session) = (fleet.store.clone(), session_on(device));
        tasks.spawn(async move { store.open_session(&session).await.is_ok() });
    }
    let opened = tasks.join_all().await.into_iter().filter(|opened| *opened).count();

    assert_eq!(opened, 45);
    assert_eq!(fleet.store.sessions(None, true).await.unwrap().len(), 45);
    let actions = fleet.actions().await;
    assert_eq!(actions.iter().filter(|action| *action == "session.opened").count(), 45);
    assert_eq!(fleet.store.verify_audit().await.unwrap(), [""; 0]);
    fleet.end().await;
}
