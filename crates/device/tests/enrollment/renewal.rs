//! The next certificate, from a bridge that sees who comes and what the device has on its disk at that moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use common::domain::{Clock as _, DeviceId, SystemClock, Timestamp};
use device::agent::{AgentError, Device, Enrolled};
use device::enroll::{EnrollError, EnrollSettings, Patience, ServerTrust};
use rcgen::CertificateParams;
use serde_json::{Value, json};
use tempfile::TempDir;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::bridge::{Authority, TOKEN, TlsListener, bind, created, leaf_params};

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_certificate_two_thirds_through_its_life_is_renewed_and_proven_before_the_old_one_goes() {
    let bridge = Bridge::new(Validity::around_now()).await;
    let enrolled = bridge.enrolled().await;
    let old = enrolled.certificate_pem().to_owned();
    let stop = CancellationToken::new();

    let mut agent = JoinSet::new();
    agent.spawn(enrolled.keep_fresh(bridge.url.parse().unwrap(), stop.clone()));
    timeout(PATIENCE, bridge.world.checked_in.notified()).await.unwrap();
    stop.cancel();
    timeout(PATIENCE, agent.join_all()).await.unwrap();

    let visits = bridge.visits();
    let [renewal, proof] = visits.as_slice() else {
        panic!("{visits:?}")
    };
    assert_eq!((renewal.path.as_str(), proof.path.as_str()), ("renew", "checkin"));
    assert_eq!(renewal.shown, der(&old), "it asked with the certificate it had");
    assert_ne!(proof.shown, der(&old), "it proved the new one");
    assert_eq!(proof.kept, old, "and kept the old one until then");
    assert_eq!(der(&bridge.kept()), proof.shown, "and no longer");
    assert!(!bridge.state.path().join("device/renewal.json").exists());
}

#[tokio::test]
async fn a_new_certificate_that_is_not_proven_yet_is_kept_beside_the_old_one_and_not_asked_for_again() {
    let bridge = Bridge::new(Validity::around_now()).await;
    let enrolled = bridge.enrolled().await;
    let old = enrolled.certificate_pem().to_owned();
    bridge.world.is_broken.store(true, Ordering::Relaxed);

    let failed = enrolled.renew(bridge.url.parse().unwrap()).await;
    let kept = bridge.kept();
    bridge.world.is_broken.store(false, Ordering::Relaxed);
    let renewed = bridge.again().await.renew(bridge.url.parse().unwrap()).await.unwrap();

    assert!(failed.is_err());
    assert_eq!(kept, old);
    let visits = bridge.visits();
    let paths: Vec<_> = visits.iter().map(|visit| visit.path.as_str()).collect();
    assert_eq!(paths, ["renew", "checkin", "checkin"]);
    assert_eq!(visits[1].shown, visits[2].shown);
    assert_eq!(der(renewed.certificate_pem()), visits[2].shown);
}

#[tokio::test]
async fn a_certificate_in_its_first_two_thirds_is_left_alone() {
    let bridge = Bridge::new(Validity::fresh()).await;
    let enrolled = bridge.enrolled().await;

    let stop = CancellationToken::new();
    let agent = enrolled.keep_fresh("https://127.0.0.1:9/".parse().unwrap(), stop.clone());
    stop.cancel();
    agent.await;

    assert!(bridge.visits().is_empty());
}

/// Its clock stands still at a time when the server's certificate was not valid yet.
#[tokio::test]
async fn a_device_whose_clock_is_late_believes_the_last_time_that_the_bridge_told() {
    let soon = SystemClock.now() + Duration::from_hours(24 * 365);
    let bridge = Bridge::new(Validity::later(soon)).await;
    let enrolled = bridge.enrolled_by_hand().await;

    let renewed = enrolled.renew(bridge.url.parse().unwrap()).await;

    assert!(renewed.is_ok(), "{renewed:?}");
}

#[tokio::test]
async fn a_root_that_the_device_was_not_told_to_believe_is_not_believed() {
    let bridge = Bridge::new(Validity::around_now()).await;
    let both = bridge.world.authority.root_pem() + &Authority::new().root_pem();
    let device = bridge.device().await;
    bridge.world.is_other.store(true, Ordering::Relaxed);

    let refused = device.enroll(&bridge.settings(both)).await.unwrap_err();

    assert!(
        matches!(refused, AgentError::Enroll(EnrollError::BadAnswer(_))),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("root"), "{refused}");
}

/// A root takes the place of another: certificates come from the new one, and the bridge still has one of the old.
#[tokio::test]
async fn while_roots_change_the_bridge_is_believed_by_either_and_the_old_one_is_forgotten_in_the_end() {
    let bridge = Bridge::new(Validity::around_now()).await;
    let enrolled = bridge.enrolled().await;
    let (old, new) = (bridge.world.authority.root_pem(), bridge.world.other.root_pem());
    *bridge.world.roots.lock().unwrap() = format!("{old}{new}");
    bridge.world.is_other.store(true, Ordering::Relaxed);

    let renewed = enrolled.renew(bridge.url.parse().unwrap()).await.unwrap();

    let visits = bridge.visits();
    assert_eq!(visits.len(), 2, "{visits:?}");
    assert_eq!(der(renewed.certificate_pem()), visits[1].shown);
    let believed = std::fs::read_to_string(bridge.world.directory.join("ca.pem")).unwrap();
    assert!(believed.contains(&old) && believed.contains(&new), "{believed}");

    drop(renewed);
    *bridge.world.roots.lock().unwrap() = new.clone();
    let again = bridge.again().await;
    assert!(
        again.renew(bridge.url.parse().unwrap()).await.is_err(),
        "it knows the bridge's certificate no more"
    );
    let believed = std::fs::read_to_string(bridge.world.directory.join("ca.pem")).unwrap();
    assert!(!believed.contains(&old) && believed.contains(&new), "{believed}");
}

/// How long things are valid.
#[derive(Clone, Copy)]
pub(crate) struct Validity {
    first: (Timestamp, Timestamp),
    next: (Timestamp, Timestamp),
    server: (Timestamp, Timestamp),
    server_time: Timestamp,
}

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

impl Validity {
    /// Three quarters of the first certificate's life are over.
    pub(crate) fn around_now() -> Self {
        let now = SystemClock.now();
        Self {
            first: (now - MINUTE, now + MINUTE / 3),
            ..Self::fresh()
        }
    }

    fn fresh() -> Self {
        let now = SystemClock.now();
        let valid = (now - MINUTE, now + DAY);
        Self {
            first: valid,
            next: valid,
            server: valid,
            server_time: now,
        }
    }

    /// The server lives in another time.
    fn later(server_time: Timestamp) -> Self {
        let now = SystemClock.now();
        let valid = (now - MINUTE, server_time + DAY);
        Self {
            first: valid,
            next: valid,
            server: (server_time - MINUTE, server_time + DAY),
            server_time,
        }
    }
}

/// Somebody came.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) path: String,
    /// The certificate that was shown.
    pub(crate) shown: Vec<u8>,
    /// The one that the device kept at that moment, PEM.
    kept: String,
}

pub(crate) struct World {
    pub(crate) authority: Authority,
    other: Authority,
    /// What it says that its roots are, PEM.
    roots: Mutex<String>,
    validity: Validity,
    pub(crate) directory: std::path::PathBuf,
    visits: Mutex<Vec<Visit>>,
    checked_in: Notify,
    pub(crate) is_broken: AtomicBool,
    /// A certificate that it once gave and does not know.
    pub(crate) forgotten: Mutex<Option<Vec<u8>>>,
    /// Certificates come from the other authority.
    is_other: AtomicBool,
}

pub(crate) struct Bridge {
    pub(crate) url: String,
    state: TempDir,
    pub(crate) world: Arc<World>,
    _server: JoinSet<()>,
}

/// The certificate of a connection.
#[derive(Clone)]
struct Shown(Vec<u8>);

impl Connected<IncomingStream<'_, TlsListener>> for Shown {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let (_, connection) = stream.io().get_ref();
        let leaf = connection.peer_certificates().and_then(|chain| chain.first());
        Self(leaf.map(|leaf| leaf.to_vec()).unwrap_or_default())
    }
}

impl Bridge {
    pub(crate) async fn new(validity: Validity) -> Self {
        let (state, authority, other) = (tempfile::tempdir().unwrap(), Authority::new(), Authority::new());
        let mut server = CertificateParams::default();
        (server.not_before, server.not_after) = validity.server;
        let acceptor = TlsAcceptor::from(Arc::new(authority.mutual_tls(&other, &server)));
        let listener = bind().await;
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let world = Arc::new(World {
            roots: Mutex::new(authority.root_pem()),
            authority,
            other,
            validity,
            directory: state.path().join("device"),
            visits: Mutex::default(),
            checked_in: Notify::new(),
            is_broken: AtomicBool::new(false),
            forgotten: Mutex::default(),
            is_other: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/devices/{id}/enroll", post(enroll))
            .route("/devices/{id}/renew", post(renew))
            .route("/devices/{id}/checkin", post(check_in))
            .route("/ca/roots", get(roots))
            .with_state(Arc::clone(&world));
        let service = router.into_make_service_with_connect_info::<Shown>();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(TlsListener { listener, acceptor }, service).await.unwrap() });
        Self {
            url,
            state,
            world,
            _server: server,
        }
    }

    pub(crate) fn settings(&self, roots: String) -> EnrollSettings {
        EnrollSettings {
            url: self.url.parse().unwrap(),
            trust: ServerTrust::Roots(roots),
            token: TOKEN.into(),
            device_type: None,
            device_name: None,
            patience: Patience::default(),
        }
    }

    pub(crate) async fn device(&self) -> Device {
        let id = DeviceId::parse("pump-7").unwrap();
        Device::prepare(self.world.directory.clone(), Some(id)).await.unwrap()
    }

    pub(crate) async fn enrolled(&self) -> Enrolled {
        let settings = self.settings(self.world.authority.root_pem());
        self.device().await.enroll(&settings).await.unwrap()
    }

    /// Puts the answer into the device's directory.
    async fn enrolled_by_hand(&self) -> Enrolled {
        drop(self.device().await);
        let csr = std::fs::read_to_string(self.world.directory.join("request.csr")).unwrap();
        let answer = self.world.answer(&json!({ "csr": csr }), self.world.validity.first);
        std::fs::write(self.world.directory.join("enrollment.json"), answer.to_string()).unwrap();
        self.again().await
    }

    /// The device after a restart.
    pub(crate) async fn again(&self) -> Enrolled {
        self.device().await.enrolled().unwrap()
    }

    pub(crate) fn visits(&self) -> Vec<Visit> {
        self.world.visits.lock().unwrap().clone()
    }

    pub(crate) fn kept(&self) -> String {
        self.world.kept()
    }
}

impl World {
    fn answer(&self, request: &Value, (not_before, not_after): (Timestamp, Timestamp)) -> Value {
        let mut leaf = leaf_params("pump-7");
        (leaf.not_before, leaf.not_after) = (not_before, not_after);
        let authority = if self.is_other.load(Ordering::Relaxed) {
            &self.other
        } else {
            &self.authority
        };
        let mut answer = authority.answer_with("pump-7", request, leaf);
        let whole_seconds = not_after.replace_nanosecond(0).unwrap();
        answer["not_after"] = whole_seconds.format(&Rfc3339).unwrap().into();
        answer["server_time"] = self.validity.server_time.format(&Rfc3339).unwrap().into();
        answer
    }

    fn visit(&self, path: &str, shown: Vec<u8>) {
        let (path, kept) = (path.to_owned(), self.kept());
        self.visits.lock().unwrap().push(Visit { path, shown, kept });
    }

    /// The certificate that the device keeps now.
    fn kept(&self) -> String {
        let stored = std::fs::read_to_string(self.directory.join("enrollment.json")).unwrap();
        let stored: Value = serde_json::from_str(&stored).unwrap();
        stored["certificate"].as_str().unwrap().to_owned()
    }
}

async fn enroll(State(world): State<Arc<World>>, Path(_id): Path<String>, body: String) -> Response {
    let request = serde_json::from_str(&body).unwrap();
    created(&world.answer(&request, world.validity.first))
}

async fn renew(
    State(world): State<Arc<World>>,
    ConnectInfo(Shown(shown)): ConnectInfo<Shown>,
    Path(_id): Path<String>,
    body: String,
) -> Response {
    world.visit("renew", shown);
    let request = serde_json::from_str(&body).unwrap();
    created(&world.answer(&request, world.validity.next))
}

async fn check_in(
    State(world): State<Arc<World>>,
    ConnectInfo(Shown(shown)): ConnectInfo<Shown>,
    Path(_id): Path<String>,
) -> Response {
    let is_forgotten = world.forgotten.lock().unwrap().as_ref() == Some(&shown);
    world.visit("checkin", shown);
    if is_forgotten {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if world.is_broken.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    world.checked_in.notify_one();
    let server_time = world.validity.server_time.format(&Rfc3339).unwrap();
    (StatusCode::OK, json!({ "server_time": server_time }).to_string()).into_response()
}

async fn roots(State(world): State<Arc<World>>) -> String {
    world.roots.lock().unwrap().clone()
}

pub(crate) fn der(pem: &str) -> Vec<u8> {
    pem_rfc7468::decode_vec(pem.as_bytes()).unwrap().1
}
