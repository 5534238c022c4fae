//! What sessions show is recorded where the rules say so, and nothing else is.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use common::domain::{Digest, SessionId, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use terminal_proxy::adapters::RecordingFolder;
use terminal_proxy::ports::{RecordingShelf, RecordingSink};
use terminal_proxy::{RecordingPolicy, RecordingRules, check_recordings};
use tokio::io::AsyncRead;

use crate::support::{World, bearer};

#[tokio::test]
async fn a_recorded_session_can_be_played_by_an_admin_and_by_nobody_else() {
    let folder = TempDir::new().unwrap();
    let shelf = Arc::new(RecordingFolder::open(folder.path()).unwrap());
    let world = World::with_recordings(shelf.clone(), rules(RecordingPolicy::On, false)).await;
    let mut terminal = world.opened("pump-1").await;
    terminal.say("0secret").await;
    terminal.hear("0secret").await;
    terminal.say(r#"1{"columns":120,"rows":40}"#).await;
    terminal.say("0exit").await;
    terminal.closed().await;
    assert_eq!(world.session_end().await, "shell_exited");
    let record = world.session().await;
    let target = format!("/sessions/{}/recording", record.session.id);

    let answer = world.chunked(&target, "admin").await;

    let lines: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["version"], &lines[0]["width"], &lines[0]["title"]),
        (&json!(2), &json!(100), &json!("pump-1"))
    );
    let events = |code: &str| -> String {
        let of_code = lines[1..].iter().filter(|line| line[1] == code);
        of_code.map(|line| line[2].as_str().unwrap()).collect()
    };
    assert_eq!(
        (events("o"), events("r"), events("i")),
        ("$ secret".to_owned(), "100x30120x40".to_owned(), String::new())
    );
    assert!(record.session.recorded);
    assert_eq!(shelf.verify(record.session.id).await.unwrap(), record.recording);
    assert!(record.recording.is_some());
    for (person, status) in [("operator", 404), ("outsider", 404), ("viewer", 404)] {
        assert_eq!(
            world.get(&target, &world.token(person)).await.status,
            status,
            "{person}"
        );
    }
    let actions = world.actions().await;
    assert!(actions.contains(&"recording.played".to_owned()) && actions.contains(&"recording.refused".to_owned()));
}

#[tokio::test]
async fn a_recording_that_somebody_changed_is_found() {
    let folder = TempDir::new().unwrap();
    let shelf = RecordingFolder::open(folder.path()).unwrap();
    let world = World::with_recordings(Arc::new(shelf.clone()), rules(RecordingPolicy::On, false)).await;
    let mut terminal = world.opened("pump-1").await;
    terminal.say("0exit").await;
    terminal.closed().await;
    world.session_end().await;
    let id = world.session().await.session.id;
    let check = async || check_recordings(&shelf, &world.store).await.unwrap();
    assert_eq!(check().await, Vec::<String>::new());

    let stranger = SessionId::generate();
    let file = |id: SessionId| folder.path().join(format!("{id}.cast"));
    std::fs::copy(file(id), file(stranger)).unwrap();
    let text = std::fs::read_to_string(file(id)).unwrap();
    std::fs::write(file(id), text.replace("pump-1", "pump-9")).unwrap();

    let mut broken = check().await;
    broken.sort();
    let mut expected = [
        format!("The recording {stranger} belongs to no session."),
        format!("The recording of session {id} was changed or cut: its blocks do not fit their chain."),
    ];
    expected.sort();
    assert_eq!(broken, expected);
}

#[tokio::test]
async fn keys_are_recorded_only_where_the_rules_say_so() {
    let folder = TempDir::new().unwrap();
    let shelf = Arc::new(RecordingFolder::open(folder.path()).unwrap());
    let world = World::with_recordings(shelf, rules(RecordingPolicy::Required, true)).await;
    let mut terminal = world.opened("pump-1").await;
    terminal.say("0ls").await;
    terminal.hear("0ls").await;
    terminal.say("0exit").await;
    terminal.closed().await;
    world.session_end().await;

    let recording = world
        .chunked(
            &format!("/sessions/{}/recording", world.session().await.session.id),
            "admin",
        )
        .await;

    assert!(
        recording.contains(r#""i", "ls""#) && recording.contains(r#""i", "exit""#),
        "{recording}"
    );
}

#[tokio::test]
async fn what_is_not_recorded_has_no_recording() {
    let world = World::new().await;
    let _terminal = world.opened("pump-1").await;
    let record = world.session().await;

    let answer = world
        .get(
            &format!("/sessions/{}/recording", record.session.id),
            &world.token("admin"),
        )
        .await;

    assert_eq!(answer.problem(), (404, "no-recording".to_owned()));
    assert!(!record.session.recorded);
}

#[tokio::test]
async fn a_session_that_has_to_be_recorded_does_not_begin_without() {
    let world = World::with_recordings(Arc::new(FullDisk { at: 0 }), rules(RecordingPolicy::Required, false)).await;

    let answer = world
        .refused("/terminal/pump-1", &bearer(&world.token("operator")))
        .await;

    assert_eq!(answer.problem(), (503, "recording-unavailable".to_owned()));
    assert!(
        world.device.look(|seen| seen.heads.is_empty()),
        "the device was dialled without a recording"
    );
    assert_eq!(world.session_end().await, "recording_failed");
}

#[tokio::test]
async fn a_session_that_has_to_be_recorded_ends_when_that_fails() {
    let world = World::with_recordings(Arc::new(FullDisk { at: 2 }), rules(RecordingPolicy::Required, false)).await;
    let mut terminal = world.opened("pump-1").await;
    loop {
        terminal.say("0more").await;
        if let tokio_tungstenite::tungstenite::Message::Close(close) = terminal.next().await {
            assert_eq!(close.unwrap().reason.as_str(), "recording-failed");
            break;
        }
    }
    assert_eq!(world.session_end().await, "recording_failed");
    assert_eq!(world.session().await.recording, None);
}

#[tokio::test]
async fn a_session_that_may_be_recorded_goes_on_when_that_fails() {
    for at in [0, 1] {
        let world = World::with_recordings(Arc::new(FullDisk { at }), rules(RecordingPolicy::On, false)).await;
        let mut terminal = world.opened("pump-1").await;
        terminal.say("0still here").await;
        terminal.hear("0still here").await;
        terminal.say("0exit").await;
        assert_eq!(terminal.closed().await, (1000, "shell-exited".to_owned()));
        assert_eq!(world.session_end().await, "shell_exited");
        assert_eq!(world.session().await.recording, None);
    }
}

fn rules(policy: RecordingPolicy, with_input: bool) -> RecordingRules {
    RecordingRules {
        policy,
        by_group: [].into(),
        with_input,
        max_bytes: 1024 * 1024,
    }
}

/// A disk on which so many blocks have room.
struct FullDisk {
    at: usize,
}

struct FullSink(usize);

fn no_space() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

#[async_trait]
impl RecordingShelf for FullDisk {
    async fn begin(&self, _: SessionId) -> io::Result<Box<dyn RecordingSink>> {
        if self.at == 0 {
            Err(no_space())
        } else {
            Ok(Box::new(FullSink(self.at)))
        }
    }

    async fn open(&self, _: SessionId) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>> {
        Ok(None)
    }

    async fn list(&self) -> io::Result<Vec<SessionId>> {
        Ok(Vec::new())
    }

    async fn verify(&self, _: SessionId) -> io::Result<Option<Digest>> {
        Ok(None)
    }

    async fn remove_before(&self, _: Timestamp) -> io::Result<u64> {
        Ok(0)
    }
}

impl RecordingSink for FullSink {
    fn append(&mut self, _: &[u8], _: &Digest) -> io::Result<()> {
        self.0 = self.0.checked_sub(1).ok_or_else(no_space)?;
        if self.0 == 0 { Err(no_space()) } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}
