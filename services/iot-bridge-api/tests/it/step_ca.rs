//! The step-ca adapter against a server that behaves as step-ca 0.30 does.

mod published;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::chassis::metrics::HttpMetrics;
use common::chassis::server::{self, Options, Tls, TlsFiles};
use common::chassis::shutdown::Shutdown;
use common::domain::{CertificateIntent, Clock, DeviceId, Digest, ManualClock};
use http::StatusCode;
use iot_bridge_api::adapters::step_ca::{ProvisionerKey, ProvisionerSecret, RootFingerprint, StepCa, StepCaOptions};
use iot_bridge_api::ports::{CertificateAuthority as _, UpstreamError};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{NOW, TestCa, TestDevice};

#[tokio::test]
async fn a_certificate_is_signed_with_a_token_for_this_request_only() {
    let world = World::new().await;
    let intent = intent("pump-7");

    let chain = world.adapter().sign(&intent).await.unwrap();

    assert_eq!(chain.pem.matches("BEGIN CERTIFICATE").count(), 2);
    let claims = world.server.tokens.lock().unwrap()[0].clone();
    assert_eq!(
        (&claims["sub"], &claims["sans"]),
        (&json!("pump-7"), &json!(["pump-7"]))
    );
    assert_eq!(claims["aud"], format!("{}/1.0/sign", world.url));
}

#[tokio::test]
async fn after_a_401_one_more_token_is_made_and_not_a_third() {
    let world = World::new().await;
    let adapter = world.adapter();
    *world.server.refuse.lock().unwrap() = vec![StatusCode::UNAUTHORIZED];
    adapter.sign(&intent("pump-7")).await.unwrap();

    *world.server.refuse.lock().unwrap() = vec![StatusCode::UNAUTHORIZED; 2];
    let error = adapter.sign(&intent("pump-7")).await.unwrap_err();

    assert!(matches!(error, UpstreamError::Unexpected { .. }));
    let tokens = world.server.tokens.lock().unwrap().clone();
    let ids: HashSet<_> = tokens.iter().map(|claims| claims["jti"].to_string()).collect();
    assert_eq!((tokens.len(), ids.len()), (4, 4));
}

#[tokio::test]
async fn a_no_is_final_and_a_fault_passes() {
    let world = World::new().await;
    let adapter = world.adapter();
    *world.server.refuse.lock().unwrap() = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::FORBIDDEN];

    assert!(matches!(
        adapter.sign(&intent("pump-7")).await,
        Err(UpstreamError::Refused { .. })
    ));
    assert!(matches!(
        adapter.sign(&intent("pump-7")).await,
        Err(UpstreamError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn a_serial_number_is_revoked_in_decimal_and_twice_is_as_good_as_once() {
    let world = World::new().await;
    let adapter = world.adapter();

    adapter.revoke("1f2e").await.unwrap();
    adapter.revoke("1f2e").await.unwrap();

    assert_eq!(
        *world.server.revoked.lock().unwrap(),
        HashSet::from(["7982".to_owned()])
    );
    assert_eq!(world.server.tokens.lock().unwrap()[0]["sub"], "7982");
}

#[tokio::test]
async fn an_authority_with_another_root_is_not_spoken_to() {
    let world = World::new().await;
    let stranger = world.adapter_with(RootFingerprint::parse(&Digest::of(b"another").to_string()).unwrap());

    assert!(matches!(
        stranger.sign(&intent("pump-7")).await,
        Err(UpstreamError::Unexpected { .. })
    ));
    assert!(
        world.server.tokens.lock().unwrap().is_empty(),
        "no token was shown to it"
    );
}

#[tokio::test]
async fn while_roots_change_one_of_the_configured_ones_is_enough_and_the_other_is_found_when_it_is_there() {
    let world = World::new().await;
    world.server.is_exact.store(true, Ordering::Relaxed);
    let next = TestCa::new(clock()).root_pem();
    let clock = Arc::new(ManualClock::new(NOW));
    let both =
        [world.server.ca.root_pem(), next.clone()].map(|pem| RootFingerprint::parse(&fingerprint_of(&pem)).unwrap());
    let adapter = StepCa::new(
        StepCaOptions {
            fingerprints: both.to_vec(),
            ..world.options()
        },
        clock.clone(),
    );

    let before = adapter.roots().await.unwrap();
    *world.server.other_root.lock().unwrap() = Some(next.clone());
    let at_once = adapter.roots().await.unwrap();
    clock.advance(std::time::Duration::from_mins(1));
    let later = adapter.roots().await.unwrap();
    *world.server.other_root.lock().unwrap() = None;
    adapter.sign(&intent("pump-7")).await.unwrap();

    assert_eq!(
        (before.as_str(), at_once.as_str()),
        (world.server.ca.root_pem().as_str(), before.as_str())
    );
    assert_eq!(later, world.server.ca.root_pem() + &next);
}

#[tokio::test]
async fn the_keys_of_the_authority_are_its_roots_its_intermediates_and_its_provisioners() {
    let world = World::new().await;

    let keys = world.adapter().own_keys().await.unwrap();

    let expected = [world.server.ca.root_key(), world.server.ca.intermediate_key()].map(spki);
    assert_eq!(
        keys,
        [&expected[..], &[spki(&world.server.ca.provisioner_key())]].concat()
    );
}

fn spki(key: &rcgen::KeyPair) -> Digest {
    Digest::of(&rcgen::PublicKeyData::subject_public_key_info(key))
}

#[tokio::test]
async fn an_authority_that_is_not_there_is_unavailable() {
    let world = World::new().await;
    let adapter = world.adapter();
    adapter.health().await.unwrap();
    assert!(
        adapter
            .roots()
            .await
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    assert_eq!(
        adapter.crl().await.unwrap(),
        None,
        "the list is switched off by default"
    );

    let nowhere = StepCa::new(
        StepCaOptions {
            url: "https://localhost:1".parse().unwrap(),
            ..world.options()
        },
        clock(),
    );
    assert!(matches!(nowhere.health().await, Err(UpstreamError::Unavailable { .. })));
}

pub(crate) struct World {
    pub(crate) server: Arc<Server>,
    pub(crate) url: String,
    shutdown: Shutdown,
    _folder: TempDir,
}

pub(crate) struct Server {
    pub(crate) ca: TestCa,
    /// The root that it will have, or had, beside its own.
    other_root: Mutex<Option<String>>,
    /// The intermediate that it had before its own.
    other_intermediate: Mutex<Option<String>>,
    /// Whether it knows no roots but those it is asked for by their fingerprints.
    is_exact: std::sync::atomic::AtomicBool,
    /// Statuses to answer with instead of a certificate, the last one first.
    refuse: Mutex<Vec<StatusCode>>,
    tokens: Mutex<Vec<Value>>,
    revoked: Mutex<HashSet<String>>,
    list: published::List,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_clock(Arc::new(common::domain::SystemClock)).await
    }

    /// An authority at a time of its own.
    pub(crate) async fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = TestCa::new(clock);
        let files = TlsFiles {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        let (certificate, key) = ca.server_certificate("localhost");
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        let (refuse, tokens, revoked) = (Mutex::default(), Mutex::default(), Mutex::default());
        let server = Arc::new(Server {
            ca,
            other_root: Mutex::default(),
            other_intermediate: Mutex::default(),
            is_exact: std::sync::atomic::AtomicBool::new(false),
            refuse,
            tokens,
            revoked,
            list: published::List::default(),
        });
        let router = Router::new()
            .route("/root/{fingerprint}", get(root))
            .route("/health", get(async || Json(json!({ "status": "ok" }))))
            .merge(published::routes())
            .route("/1.0/sign", post(sign))
            .route("/1.0/revoke", post(revoke))
            .with_state(server.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let metrics = HttpMetrics::register(&mut prometheus_client::registry::Registry::default(), "step-ca", "0");
        let tls = Some(Tls::load(files, None).await.unwrap());
        let shutdown = Shutdown::new();
        server::serve(
            listener,
            router,
            Options {
                tls,
                ..Options::new(&metrics)
            },
            &shutdown,
        );
        Self {
            server,
            url,
            shutdown,
            _folder: folder,
        }
    }

    /// How to reach it.
    pub(crate) fn options(&self) -> StepCaOptions {
        StepCaOptions {
            url: self.url.parse().unwrap(),
            fingerprints: vec![RootFingerprint::parse(&self.server.ca.fingerprint().to_string()).unwrap()],
            provisioner: "iot-bridge".to_owned(),
            secret: ProvisionerSecret::Key(ProvisionerKey::from_jwk(self.provisioner_jwk().as_bytes()).unwrap()),
        }
    }

    /// The provisioner's private key.
    pub(crate) fn provisioner_jwk(&self) -> String {
        let point = aws_lc_rs::signature::KeyPair::public_key(&self.server.ca.provisioner)
            .as_ref()
            .to_vec();
        let d = aws_lc_rs::encoding::AsBigEndian::as_be_bytes(&self.server.ca.provisioner.private_key()).unwrap();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]), "d": encode(d.as_ref()),
        });
        jwk.to_string()
    }

    fn adapter(&self) -> StepCa {
        StepCa::new(self.options(), clock())
    }

    fn adapter_with(&self, fingerprint: RootFingerprint) -> StepCa {
        StepCa::new(
            StepCaOptions {
                fingerprints: vec![fingerprint],
                ..self.options()
            },
            clock(),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.end();
    }
}

/// It shows its root whatever it is asked for, unless it is exact: the fingerprint is ours to compare.
async fn root(State(server): State<Arc<Server>>, Path(fingerprint): Path<String>) -> Response {
    server.list.others_asked.fetch_add(1, Ordering::Relaxed);
    if !server.is_exact.load(Ordering::Relaxed) {
        return Json(json!({ "ca": server.ca.root_pem() })).into_response();
    }
    let other = server.other_root.lock().unwrap().clone();
    let known = other.into_iter().chain([server.ca.root_pem()]);
    let asked = known.into_iter().find(|pem| fingerprint_of(pem) == fingerprint);
    asked.map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        |pem| Json(json!({ "ca": pem })).into_response(),
    )
}

fn fingerprint_of(pem: &str) -> String {
    Digest::of(&pem_rfc7468::decode_vec(pem.as_bytes()).unwrap().1).to_string()
}

async fn sign(State(server): State<Arc<Server>>, Json(body): Json<Value>) -> Response {
    let claims = server.spend(&body);
    if let Some(status) = server.refuse.lock().unwrap().pop() {
        return (
            status,
            Json(json!({ "status": status.as_u16(), "message": "The request was refused." })),
        )
            .into_response();
    }
    let (_, csr) = pem_rfc7468::decode_vec(body["csr"].as_str().unwrap().as_bytes()).unwrap();
    if claims["cnf"]["x5rt#S256"] != URL_SAFE_NO_PAD.encode(Digest::of(&csr).0) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let id = DeviceId::parse(claims["sub"].as_str().unwrap()).unwrap();
    let intent = CertificateIntent {
        csr_der: csr,
        device_id: id,
        ..intent("x")
    };
    let pem = match server.ca.sign(&intent).await {
        Ok(chain) => chain.pem,
        Err(UpstreamError::Unavailable { .. }) => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Err(_) => return StatusCode::FORBIDDEN.into_response(),
    };
    let Some(end) = pem.find("-----END CERTIFICATE-----\n") else {
        return (StatusCode::CREATED, pem).into_response();
    };
    let (leaf, intermediate) = pem.split_at(end + 26);
    let answer = json!({ "crt": leaf, "ca": intermediate, "certChain": [leaf, intermediate], "tlsOptions": {} });
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn revoke(State(server): State<Arc<Server>>, Json(body): Json<Value>) -> Response {
    let claims = server.spend(&body);
    let serial = body["serial"].as_str().unwrap().to_owned();
    assert!(body["passive"] == true && claims["sub"] == serial.as_str());
    if server.revoked.lock().unwrap().insert(serial.clone()) {
        return Json(json!({ "status": "ok" })).into_response();
    }
    let message =
        format!("The request could not be completed: certificate with serial number '{serial}' is already revoked.");
    (
        StatusCode::BAD_REQUEST,
        Json(json!({ "status": 400, "message": message })),
    )
        .into_response()
}

impl Server {
    /// A token is spent before anything else is looked at.
    fn spend(&self, body: &Value) -> Value {
        let token = body["ott"].as_str().unwrap();
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        self.tokens.lock().unwrap().push(claims.clone());
        claims
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(NOW))
}

fn intent(id: &str) -> CertificateIntent {
    let csr = TestDevice::new(id).csr;
    let (_, csr_der) = pem_rfc7468::decode_vec(csr.as_bytes()).unwrap();
    let key_digest = Digest::of(b"not looked at");
    CertificateIntent {
        id: uuid::Uuid::now_v7(),
        device_id: DeviceId::parse(id).unwrap(),
        csr_der,
        key_digest,
    }
}
