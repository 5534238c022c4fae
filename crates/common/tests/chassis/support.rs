//! A small service on a free port, and a client that sends exactly the bytes it is given.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use common::chassis::client_address::TrustedProxies;
use common::chassis::health;
use common::chassis::json::StrictJson;
use common::chassis::layers::{self, Layers, Limits};
use common::chassis::metrics::HttpMetrics;
use common::chassis::path::PathDeviceId;
use common::chassis::server::{self, Options, PeerCertificate, Tls};
use common::chassis::shutdown::Shutdown;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Longer than anything here takes; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What does not fit into the buffers of both ends of a connection, in bytes.
pub(crate) const MORE_THAN_SOCKETS_HOLD: usize = 32 * 1024 * 1024;

pub(crate) struct Demo {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    /// Told when the handler of `/slow` has begun.
    pub(crate) slow_began: Arc<Notify>,
    /// Lets the handler of `/slow` answer.
    pub(crate) slow_may_end: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(crate) struct Setup {
    pub(crate) tls: Option<Tls>,
    pub(crate) head_timeout: Option<Duration>,
    pub(crate) answer_within: Option<Duration>,
    pub(crate) write_stall_timeout: Option<Duration>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_proxy_connections: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EnrollRequest {
    csr: String,
}

#[derive(Debug, Serialize)]
struct EnrollAnswer {
    device_id: String,
    csr_bytes: usize,
}

impl Demo {
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub(crate) async fn start_with(setup: Setup) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry, "demo", "0.0.0");
        let mut options = Options::new(&metrics);
        options.tls = setup.tls;
        options.head_timeout = setup.head_timeout.unwrap_or(options.head_timeout);
        options.write_stall_timeout = setup.write_stall_timeout.unwrap_or(options.write_stall_timeout);
        options.max_connections = setup.max_connections.unwrap_or(options.max_connections);
        options.max_proxy_connections = setup.max_proxy_connections.unwrap_or(options.max_proxy_connections);
        let mut limits = Limits::default();
        limits.answer_within = setup.answer_within.unwrap_or(limits.answer_within);
        let demo = Self {
            address,
            shutdown: Shutdown::new(),
            slow_began: Arc::default(),
            slow_may_end: Arc::default(),
        };
        let router = demo
            .router()
            .merge(health::router("demo", Vec::new(), Arc::new(registry)));
        let layers = Layers {
            limits,
            metrics,
            trusted_proxies: TrustedProxies::default(),
        };
        server::serve(listener, layers::standard(router, layers), options, &demo.shutdown);
        demo
    }

    fn router(&self) -> Router {
        let (began, may_end) = (Arc::clone(&self.slow_began), Arc::clone(&self.slow_may_end));
        let slow = async move |_body: Bytes| {
            began.notify_one();
            may_end.notified().await;
            "done"
        };
        Router::new()
            .route("/devices/{id}/enroll", post(enroll))
            .route("/panic", get(panic))
            .route("/slow", get(slow.clone()).post(slow))
            .route("/large", get(async || vec![0; MORE_THAN_SOCKETS_HOLD]))
            .route("/redirect", get(async || Redirect::temporary("/health")))
            .route("/upgrade", get(upgrade))
            .route("/peer", get(peer))
            .layer(Extension(self.shutdown.clone()))
    }

    /// Sends these bytes on a connection of their own and returns the first answer.
    pub(crate) async fn send(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.connect().await;
        // The server may refuse and close before it has read everything.
        drop(stream.write_all(request.as_ref()).await);
        Answer::read(&mut stream).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: demo\r\n\r\n")).await
    }

    /// Enrolls with these header lines (each with its CR LF) and this body.
    pub(crate) async fn enroll(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: demo\r\n{headers}Content-Length: {length}\r\n\r\n");
        self.send([head.as_bytes(), body].concat()).await
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

async fn enroll(PathDeviceId(id): PathDeviceId, StrictJson(request): StrictJson<EnrollRequest>) -> Response {
    let answer = EnrollAnswer {
        device_id: id.to_string(),
        csr_bytes: request.csr.len(),
    };
    (StatusCode::CREATED, Json(answer)).into_response()
}

#[expect(clippy::panic, reason = "what the layers do about a panic is the test")]
async fn panic() -> &'static str {
    panic!("a secret of the handler")
}

async fn peer(certificate: Option<Extension<PeerCertificate>>) -> String {
    certificate.map_or_else(
        || "nobody".to_owned(),
        |Extension(peer)| format!("{} bytes", peer.0.len()),
    )
}

/// Echoes everything after the upgrade, in a task that shutdown waits for.
async fn upgrade(Extension(shutdown): Extension<Shutdown>, request: Request) -> Response {
    let upgraded = hyper::upgrade::on(request);
    shutdown.spawn(async move {
        let mut stream = TokioIo::new(upgraded.await.unwrap());
        let mut bytes = [0; 64];
        while let Ok(length @ 1..) = stream.read(&mut bytes).await {
            if stream.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    });
    let headers = [(CONNECTION, "upgrade"), (UPGRADE, "echo")];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Whether the server closed the connection after the answer.
    pub(crate) closed: bool,
}

impl Answer {
    /// Reads one answer, and finds out whether the connection ends with it.
    pub(crate) async fn read(stream: &mut TcpStream) -> Self {
        let mut received = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            if let Some(answer) = Self::parse(&received) {
                return answer;
            }
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut chunk))
                .await
                .expect("an answer in time");
            let length = read.unwrap_or(0);
            assert!(
                length > 0,
                "closed without an answer: {:?}",
                String::from_utf8_lossy(&received)
            );
            received.extend_from_slice(&chunk[..length]);
        }
    }

    fn parse(received: &[u8]) -> Option<Self> {
        let head_end = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&received[..head_end]).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.to_str().unwrap().parse().unwrap());
        let body = received.get(head_end..head_end + length)?.to_vec();
        let closed = headers
            .get("connection")
            .is_some_and(|connection| connection == "close");
        Some(Self {
            status,
            headers,
            body,
            closed,
        })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Status and slug of a refusal; checks that it is a whole problem document.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let document = self.json();
        assert_eq!(document["status"], self.status);
        assert_eq!(document["instance"].as_str(), self.header("x-request-id"));
        assert!(document["title"].is_string() && document["detail"].is_string());
        let slug = document["type"]
            .as_str()
            .unwrap()
            .strip_prefix("urn:iot-bridge:problem:")
            .unwrap();
        (self.status, slug.to_owned())
    }
}
