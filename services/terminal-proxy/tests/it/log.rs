//! What must never be in a log.

use std::io;
use std::sync::{Arc, Mutex};

use common::chassis::config::LogFormat;
use common::chassis::telemetry;

use crate::support::{ORIGIN, World};

#[tokio::test]
async fn credentials_and_keystrokes_are_in_no_log_line_of_any_level() {
    let lines = Lines::default();
    let subscriber = telemetry::subscriber(LogFormat::Json, "trace", lines.clone()).unwrap();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let token = world.token("operator");
    let ticket = world
        .ask_for_ticket("pump-1", &token, &format!("Origin: {ORIGIN}\r\n"))
        .await
        .json();
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();

    let mut first = world
        .open(
            &format!("/terminal?deviceId=pump-1&token={token}"),
            &[("origin", ORIGIN)],
        )
        .await;
    first.say("0hunter2").await;
    first.hear("0hunter2").await;
    // A test on another thread, which has no subscriber, may have met a log line for the first time while this one's
    // was being made, and then the line is off for everybody.
    tracing::callsite::rebuild_interest_cache();
    world
        .open(&format!("/terminal/pump-1?ticket={ticket}"), &[("origin", ORIGIN)])
        .await;
    world
        .refused(&format!("/terminal/pump-1?ticket={ticket}&token={token}"), "")
        .await;
    world
        .refused(
            "/terminal/pump-1?token=canary-in-a-query",
            &format!("Origin: {ORIGIN}\r\n"),
        )
        .await;

    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("Opened session"), "the log is empty");
    for secret in [token.as_str(), &ticket, "hunter2", "canary-in-a-query"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
