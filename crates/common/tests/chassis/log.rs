//! What the log says about hostile requests.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use common::chassis::config::LogFormat;
use common::chassis::telemetry;
use serde_json::Value;

use crate::support::Demo;

#[tokio::test(flavor = "current_thread")]
async fn each_request_is_one_json_line_without_its_path_query_and_headers() {
    let log = Log::default();
    let subscriber = telemetry::subscriber(LogFormat::Json, "info", log.clone()).unwrap();
    let _guard = tracing::subscriber::set_default(subscriber);
    let demo = Demo::start().await;

    let answer = demo
        .get("/devices/%0d%0a%7B%22forged%22:1%7D/enroll?token=hunter2")
        .await;
    demo.send("BREW /hunter2 HTTP/1.1\r\nHost: demo\r\nAuthorization: Bearer hunter2\r\n\r\n")
        .await;
    demo.get("/health").await;

    let lines = log.json_lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0]["message"], "Answered GET /devices/{id}/enroll with 405");
    assert_eq!(lines[0]["http.route"], "/devices/{id}/enroll");
    assert_eq!(lines[0]["http.status"], 405);
    assert_eq!(lines[0]["problem"], "method-not-allowed");
    assert_eq!(lines[0]["client.address"], "127.0.0.1");
    assert_eq!(lines[0]["request.id"].as_str(), answer.header("x-request-id"));
    assert_eq!(lines[1]["http.route"], "none");
    assert!(!log.text().contains("hunter2"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_hostile_path_id_is_400_and_leaves_nothing_in_the_log_and_the_answer() {
    let log = Log::default();
    let subscriber = telemetry::subscriber(LogFormat::Human, "trace", log.clone()).unwrap();
    let _guard = tracing::subscriber::set_default(subscriber);
    let demo = Demo::start().await;

    for id in [
        "a%0d%0aSet-Cookie:%20hostile=1",
        "a%0A%5BPeer%5D%0APublicKey=hostile",
        "%23%20a%0aPostUp=hostile",
        "a%1b%5b2Jhostile",
        "a%00hostile",
    ] {
        let path = format!("/devices/{id}/enroll");
        let answer = demo
            .enroll(&path, "Content-Type: application/json\r\n", br#"{"csr": "x"}"#)
            .await;
        assert_eq!(answer.problem(), (400, "invalid-device-id".to_owned()), "{id}");
        assert_eq!(answer.header("set-cookie"), None, "{id}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("hostile"), "{id}");
    }

    let text = log.text();
    assert_eq!(text.matches("/devices/{id}/enroll with 400").count(), 5, "{text}");
    for raw in ["hostile", "[Peer]", "PostUp", "Set-Cookie", "\r", "\u{1b}", "\0"] {
        assert!(!text.contains(raw), "{raw:?} is in {text:?}");
    }
}

#[test]
fn hostile_fields_stay_in_their_line() {
    let log = Log::default();
    for format in [LogFormat::Json, LogFormat::Human] {
        let subscriber = telemetry::subscriber(format, "info", log.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let id = "a\r\n{\"level\":\"ERROR\"}\u{1b}[2J\u{9b}\u{7f}\u{202e}\0";
            tracing::info!(device.id = %id, subject = ?id, plain = id, "Refused {id}");
            tracing::info!(long = "x".repeat(1_000_000), "Long");
            tracing::info!(user.token = "hunter2", "Secret");
        });
    }

    let text = log.text();
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(
        text.chars()
            .all(|character| character == '\n' || !character.is_control()),
        "{text:?}"
    );
    assert!(!text.contains('\u{202e}') && !text.contains("hunter2"));
    assert!(text.lines().all(|line| line.len() < 2048));
}

#[test]
fn a_line_carries_the_fields_of_its_spans_and_the_inner_value_counts() {
    let log = Log::default();
    let subscriber = telemetry::subscriber(LogFormat::Json, "info", log.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!(
            "outer",
            request.id = "r-1",
            attempt = 1,
            session.id = tracing::field::Empty
        );
        span.record("session.id", "s-1");
        span.in_scope(|| tracing::warn!(attempt = 2, healthy = false, "Tried again"));
    });

    let line = &log.json_lines()[0];
    assert_eq!(
        (line["request.id"].as_str(), line["session.id"].as_str()),
        (Some("r-1"), Some("s-1"))
    );
    assert_eq!(
        (line["attempt"].as_i64(), line["healthy"].as_bool()),
        (Some(2), Some(false))
    );
    assert_eq!(
        (line["level"].as_str(), line["message"].as_str()),
        (Some("WARN"), Some("Tried again"))
    );
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn json_lines(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
