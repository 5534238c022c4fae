//! The stage: the real service over a SQLite file, between fakes that can be looked at.

mod ca;
mod device;
mod hub;
mod lease;
pub(crate) mod neighbours;
mod people;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use common::chassis::client_address::TrustedProxies;
use common::chassis::server::PeerCertificate;
use common::domain::{Actor, Clock, DeviceId, IdPattern, ManualClock, Timestamp, VpnNetwork};
use common::store::{Store, StoreOptions};
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use iot_bridge_api::app::blocked_keys::BlockedKeys;
use iot_bridge_api::app::token_secret::TokenPepper;
use iot_bridge_api::app::tokens::TokenOrder;
use iot_bridge_api::{Doors, NeighbourParts, Parts, Services, Settings};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;
use time::macros::datetime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(crate) use ca::{Mood, TestCa};
pub(crate) use device::{TestDevice, wireguard_key};
pub(crate) use hub::TestHub;
pub(crate) use lease::Lease;
pub(crate) use people::People;

pub(crate) const NOW: Timestamp = datetime!(2026-05-01 12:00 UTC);

pub(crate) struct World {
    pub(crate) ca: Arc<TestCa>,
    pub(crate) hub: Arc<TestHub>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) people: People,
    pub(crate) services: Services,
    pub(crate) store: Store,
    router: Router,
    prefix: String,
    folder: TempDir,
}

/// What is around the process, and outlives it.
struct Surroundings {
    ca: Arc<TestCa>,
    hub: Arc<TestHub>,
    clock: Arc<ManualClock>,
    people: People,
    prefix: String,
    folder: TempDir,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_network("10.8.0.0/24").await
    }

    pub(crate) async fn with_network(prefix: &str) -> Self {
        Self::build(prefix, Doors { enroll: true }, NeighbourParts::default()).await
    }

    /// A service beside other systems.
    pub(crate) async fn beside(neighbours: NeighbourParts) -> Self {
        Self::build("10.8.0.0/24", Doors { enroll: true }, neighbours).await
    }

    pub(crate) async fn without_enrollment() -> Self {
        Self::build("10.8.0.0/24", Doors { enroll: false }, NeighbourParts::default()).await
    }

    async fn build(prefix: &str, doors: Doors, neighbours: NeighbourParts) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let surroundings = Surroundings {
            ca: Arc::new(TestCa::new(clock.clone())),
            hub: Arc::new(TestHub::new()),
            people: People::new(),
            prefix: prefix.to_owned(),
            folder: tempfile::tempdir().unwrap(),
            clock,
        };
        Self::open(surroundings, doors, neighbours).await
    }

    async fn open(surroundings: Surroundings, doors: Doors, neighbours: NeighbourParts) -> Self {
        let Surroundings {
            ca,
            hub,
            clock,
            people,
            prefix,
            folder,
        } = surroundings;
        let url = format!("sqlite://{}", folder.path().join("bridge.db").display());
        let store = Store::open(&url, StoreOptions::new("test"), clock.clone())
            .await
            .unwrap();
        let network = VpnNetwork::new(prefix.parse().unwrap(), None).unwrap();
        let services = Services::new(Parts {
            store: store.clone(),
            certificate_authority: ca.clone(),
            vpn: hub.clone(),
            access_tokens: Arc::new(people.verifier(clock.clone())),
            neighbours,
            clock: clock.clone(),
            settings: Settings {
                network: network.into(),
                hub_endpoint: "hub.example.com:51820".parse().unwrap(),
                blocked_keys: BlockedKeys::default(),
                token_pepper: TokenPepper::new(&"p".repeat(32).into()).unwrap(),
                reconcile_every: Duration::from_mins(1),
                observe_every: Duration::from_secs(5),
                trusted_proxies: TrustedProxies::default(),
            },
        });
        services.addressing.begin().await.unwrap();
        let router = services.router(doors);
        Self {
            ca,
            hub,
            clock,
            people,
            services,
            store,
            router,
            prefix,
            folder,
        }
    }

    /// Ends the process, in order or as a power cut does, and starts it again; the others do not notice.
    pub(crate) async fn restart(self, in_order: bool) -> Self {
        self.restart_after(in_order, |_folder| ()).await
    }

    /// The same; meanwhile somebody else works on the database in this folder.
    pub(crate) async fn restart_after(self, in_order: bool, meanwhile: impl FnOnce(&Path)) -> Self {
        if in_order {
            self.store.close().await;
        }
        let Self {
            ca,
            hub,
            clock,
            people,
            prefix,
            folder,
            services,
            store,
            router,
        } = self;
        drop((services, store, router));
        meanwhile(folder.path());
        let surroundings = Surroundings {
            ca,
            hub,
            clock,
            people,
            prefix,
            folder,
        };
        Self::open(surroundings, Doors { enroll: true }, NeighbourParts::default()).await
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Makes a token for one device.
    pub(crate) async fn token_for(&self, id: &str) -> String {
        self.token(TokenOrder::for_device(&DeviceId::parse(id).unwrap())).await
    }

    /// Makes a token for any ids.
    pub(crate) async fn batch_token(&self, quota: u32) -> String {
        self.token(TokenOrder::for_batch(IdPattern::parse("*").unwrap(), quota))
            .await
    }

    pub(crate) async fn token(&self, order: TokenOrder) -> String {
        let fresh = self.services.tokens.create(order, &Actor::Console).await.unwrap();
        fresh.secret.expose_secret().to_owned()
    }

    /// Posts an enrollment with a token as `Bearer`.
    pub(crate) async fn enroll(&self, id: &str, token: &str, body: &Value) -> Answer {
        let request = post(&format!("/devices/{id}/enroll"))
            .header("authorization", format!("Bearer {token}"))
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await
    }

    /// Enrolls a fresh device and returns it.
    pub(crate) async fn enrolled(&self, id: &str) -> TestDevice {
        let device = TestDevice::new(id);
        let answer = self.enroll(id, &self.token_for(id).await, &device.request()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        device
    }

    /// Asks as the holder of a certificate (PEM), as the TLS listener would let it in.
    pub(crate) async fn as_device(&self, method: &str, path: &str, leaf_pem: &str, body: Option<&Value>) -> Answer {
        let (_, leaf) = pem_rfc7468::decode_vec(leaf_pem.as_bytes()).unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(PeerCertificate(leaf.into()));
        self.send(request).await
    }

    /// Enrolls a fresh device; returns it and its certificate.
    pub(crate) async fn certified(&self, id: &str) -> (TestDevice, String) {
        let device = TestDevice::new(id);
        let answer = self.enroll(id, &self.token_for(id).await, &device.request()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        (device, answer.field("certificate"))
    }

    /// Carries out the orders that are due, once.
    pub(crate) async fn work(&self) {
        let jobs = &self.services.jobs;
        jobs.run_due(&CancellationToken::new()).await.unwrap();
    }

    /// Asks as an admin, without a body.
    pub(crate) async fn admin(&self, method: &str, path: &str) -> Answer {
        let token = self.people.token(self.clock.now(), "fleet-admin", &[]);
        self.ask(method, path, Some(&token), None).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        request.headers_mut().insert(HOST, HeaderValue::from_static("bridge"));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A field that is a text.
    pub(crate) fn field(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    /// The last part of the problem's type.
    pub(crate) fn slug(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.strip_prefix("urn:iot-bridge:problem:")
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn status_and_slug(&self) -> (u16, String) {
        let slug = if self.status.is_success() {
            String::new()
        } else {
            self.slug()
        };
        (self.status.as_u16(), slug)
    }
}

pub(crate) fn post(path: &str) -> http::request::Builder {
    Request::post(path).header("content-type", "application/json")
}

/// The program of this build, unless another one is to be tried.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by the gate which program it is about"
)]
pub(crate) fn program() -> String {
    std::env::var("IOT_BRIDGE_API_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_iot-bridge-api").to_owned())
}
