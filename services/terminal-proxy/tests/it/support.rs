//! The stage.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::shutdown::Shutdown;
use common::domain::{AuditFilter, AuditTrail as _, ManualClock, SessionLedger, SessionRecord, VpnNetwork};
use common::store::Store;
use fakes::issuer::FakeIssuer;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use terminal_proxy::ports::{RecordingShelf, Storage};
use terminal_proxy::{RecordingRules, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::ttyd::TestDevice;

/// The page's own origin.
pub(crate) const ORIGIN: &str = "https://fleet.example.com";

/// Headers that make a request an upgrade.
pub(crate) const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(crate) struct World {
    pub(crate) issuer: Arc<FakeIssuer>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) store: Store,
    pub(crate) device: Arc<TestDevice>,
    pub(crate) shutdown: Shutdown,
    pub(crate) address: SocketAddr,
}

/// An answer that is no upgrade.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Status and slug of a refusal.
    pub(crate) fn problem(&self) -> (u16, String) {
        let kind = self.json()["type"].as_str().unwrap().to_owned();
        (
            self.status,
            kind.strip_prefix("urn:iot-bridge:problem:").unwrap().to_owned(),
        )
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// An open terminal in a browser.
pub(crate) struct Terminal {
    pub(crate) socket: WebSocketStream<TcpStream>,
    pub(crate) protocol: Option<String>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Builds the world with changed settings; two devices of the fleet `default` are in service.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::build(change, |_| {}, None).await
    }

    /// Builds the world with a place for recordings.
    pub(crate) async fn with_recordings(shelf: Arc<dyn RecordingShelf>, rules: RecordingRules) -> Self {
        Self::build(|settings| settings.recording = rules, |_| {}, Some(shelf)).await
    }

    /// Builds the world with changed storage ports.
    pub(crate) async fn with_storage(change: impl FnOnce(&mut Storage)) -> Self {
        Self::build(|_| {}, change, None).await
    }

    pub(crate) fn token(&self, person: &str) -> String {
        self.issuer.token_for(person)
    }

    /// Sends one request as it is written here.
    pub(crate) async fn send(&self, request_line: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let host = if headers.contains("Host: ") {
            ""
        } else {
            "Host: fleet.example.com\r\n"
        };
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let close = if headers.contains("Connection: ") {
            ""
        } else {
            "Connection: close\r\n"
        };
        let request = format!("{request_line}\r\n{host}{length}{close}{headers}\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        read_answer(&mut stream).await
    }

    /// Tries to open a terminal and is refused.
    pub(crate) async fn refused(&self, target: &str, headers: &str) -> Answer {
        self.send(&format!("GET {target} HTTP/1.1"), &format!("{UPGRADE}{headers}"), "")
            .await
    }

    pub(crate) async fn get(&self, target: &str, token: &str) -> Answer {
        self.send(&format!("GET {target} HTTP/1.1"), &bearer(token), "").await
    }

    pub(crate) async fn ask_for_ticket(&self, device: &str, token: &str, headers: &str) -> Answer {
        let headers = format!("{}Content-Type: application/json\r\n{headers}", bearer(token));
        let body = format!(r#"{{"device_id":"{device}"}}"#);
        self.send("POST /terminal/tickets HTTP/1.1", &headers, &body).await
    }

    /// Opens a terminal.
    pub(crate) async fn open(&self, target: &str, headers: &[(&'static str, &str)]) -> Terminal {
        let mut request = format!("ws://fleet.example.com{target}").into_client_request().unwrap();
        for (name, value) in headers {
            request
                .headers_mut()
                .append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (socket, response) = client_async(request, stream).await.unwrap();
        let protocol = response
            .headers()
            .get("sec-websocket-protocol")
            .map(|value| value.to_str().unwrap().to_owned());
        Terminal { socket, protocol }
    }

    /// Opens a terminal as the operator, and waits for its prompt.
    pub(crate) async fn opened(&self, device: &str) -> Terminal {
        let authorization = format!("Bearer {}", self.token("operator"));
        let mut terminal = self
            .open(&format!("/terminal/{device}"), &[("authorization", &authorization)])
            .await;
        terminal.say(r#"{"AuthToken":"","columns":100,"rows":30}"#).await;
        terminal.hear("0$ ").await;
        terminal
    }

    /// Opens a terminal with numbered output as a person, and reads the greeting.
    pub(crate) async fn opened_to_resume(&self, target: &str, person: &str) -> (Terminal, Value) {
        let authorization = format!("Bearer {}", self.token(person));
        let headers = [
            ("authorization", authorization.as_str()),
            ("sec-websocket-protocol", "tty.resume.v1, tty"),
        ];
        let mut terminal = self.open(target, &headers).await;
        assert_eq!(terminal.protocol.as_deref(), Some("tty.resume.v1"));
        let Message::Text(greeting) = terminal.next().await else {
            panic!("the first message is the proxy's greeting");
        };
        let greeting: Value = serde_json::from_str(&greeting).unwrap();
        terminal.say(r#"{"AuthToken":"","columns":100,"rows":30}"#).await;
        (terminal, greeting)
    }

    /// Reads a body that comes in chunks, as a person.
    pub(crate) async fn chunked(&self, target: &str, person: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let authorization = bearer(&self.token(person));
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: fleet.example.com\r\nConnection: close\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, mut rest) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        let mut body = String::new();
        while let Some((length, chunk)) = rest.split_once("\r\n") {
            let length = usize::from_str_radix(length, 16).unwrap();
            body.push_str(&chunk[..length]);
            rest = chunk[length..].trim_start_matches("\r\n");
        }
        body
    }

    /// What is on record, newest first.
    pub(crate) async fn actions(&self) -> Vec<String> {
        let filter = AuditFilter {
            limit: 100,
            ..AuditFilter::default()
        };
        let records = self.store.audit(&filter).await.unwrap();
        records.into_iter().map(|record| record.action).collect()
    }

    /// The newest session.
    pub(crate) async fn session(&self) -> SessionRecord {
        self.store.sessions(None, false).await.unwrap().remove(0)
    }

    /// Waits for the end of the newest session and returns why it ended.
    pub(crate) async fn session_end(&self) -> String {
        let ended = async {
            loop {
                if let Some(reason) = self.session().await.reason {
                    return reason;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap()
    }

    pub(crate) async fn enroll(&self, name: &str) {
        fakes::fleet::enroll(&self.store, self.clock.as_ref(), name).await;
    }
}

impl Terminal {
    pub(crate) async fn say(&mut self, message: &str) {
        self.socket
            .send(Message::Binary(Bytes::from(message.to_owned())))
            .await
            .unwrap();
    }

    /// Waits for this message of the device.
    pub(crate) async fn hear(&mut self, expected: &str) {
        loop {
            let message = self.next().await;
            if matches!(&message, Message::Binary(bytes) if bytes == expected.as_bytes()) {
                return;
            }
            assert!(!message.is_close(), "closed with {message:?} before {expected:?}");
        }
    }

    /// Reads so many bytes of output.
    pub(crate) async fn output(&mut self, bytes: usize) -> String {
        let mut output = Vec::new();
        while output.len() < bytes {
            match self.next().await {
                Message::Binary(message) if message.first() == Some(&b'0') => output.extend_from_slice(&message[1..]),
                Message::Close(close) => panic!("closed with {close:?} after {output:?}"),
                Message::Binary(_) | Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
        String::from_utf8(output).unwrap()
    }

    /// Waits for the Close; returns its code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(close) = self.next().await {
                let close = close.unwrap();
                return (close.code.into(), close.reason.as_str().to_owned());
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(30), self.socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap()
    }
}

async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer {
        status,
        head,
        body: String::new(),
    };
    let length = answer.header("content-length").unwrap_or("0").parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    answer.body = String::from_utf8(body).unwrap();
    answer
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

pub(crate) fn network(prefix: &str) -> VpnNetwork {
    VpnNetwork::new(prefix.parse().unwrap(), None).unwrap()
}
