//! The service that a table is played on: the library in this process, or the built program beside it. Both find the
//! same database, with a few devices and tokens in it, and the same certificate authority.

use std::any::Any;
use std::collections::HashMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use common::chassis::client_address::TrustedProxies;
use common::chassis::server::{self, ClientAuthorities, Options, Tls, TlsFiles};
use common::chassis::shutdown::Shutdown;
use common::domain::{
    Actor, Clock, DeviceId, Digest, IdPattern, ManualClock, SystemClock, VpnNetwork, WireguardPrivateKey,
};
use common::store::{Store, StoreOptions};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use iot_bridge_api::adapters::step_ca::StepCa;
use iot_bridge_api::app::blocked_keys::BlockedKeys;
use iot_bridge_api::app::token_secret::TokenPepper;
use iot_bridge_api::app::tokens::TokenOrder;
use iot_bridge_api::{Doors, NeighbourParts, Parts, Services, Settings};
use rcgen::{KeyPair, PublicKeyData as _};
use reqwest::Identity;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::step_ca;
use crate::support::{People, TestCa, TestDevice, TestHub, program};

/// Longer than a certificate of the authority lives.
const LONG_AGO: Duration = Duration::from_hours(24 * 60);
const PEPPER: &str = "the-pepper-of-the-bad-inputs-0123456789";

/// Where the table is played.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    InProcess,
    Program,
}

pub(crate) struct Stage {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// A private key that somebody will send by mistake.
    pub(crate) burnt_key: String,
    authority: step_ca::World,
    words: HashMap<String, String>,
    identities: HashMap<String, Identity>,
    folder: TempDir,
    /// Ends with the stage.
    running: Box<dyn Any>,
}

/// The program, until it is killed.
struct Running(Child);

impl Stage {
    pub(crate) async fn new(place: Place, network: &str) -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now() - LONG_AGO));
        let authority = step_ca::World::with_clock(clock.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let hub_key = WireguardPrivateKey::generate();
        let people = People::new();
        let burnt_key = KeyPair::generate().unwrap();
        let digest = Digest::of(&burnt_key.subject_public_key_info());
        fs::write(
            folder.path().join("blocked-keys"),
            format!("{digest} # posted by mistake\n"),
        )
        .unwrap();
        let past = Past {
            authority: &authority,
            folder: folder.path(),
            network,
            people: &people,
            hub_key: &hub_key,
        };
        let (mut words, identities) = past.live(&clock).await;
        let (certificate, key) = authority.server.ca.server_certificate("localhost");
        fs::write(folder.path().join("server.crt"), certificate).unwrap();
        fs::write(folder.path().join("server.key"), key).unwrap();
        fs::write(folder.path().join("pepper"), PEPPER).unwrap();
        fs::write(folder.path().join("hub.key"), hub_key.to_base64().expose_secret()).unwrap();
        let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
        fs::set_permissions(folder.path().join("hub.key"), private).unwrap();
        fs::write(folder.path().join("provisioner.jwk"), authority.provisioner_jwk()).unwrap();
        words.insert("hub-key".to_owned(), hub_key.public_key().to_base64());
        words.insert("admin".to_owned(), people.token(SystemClock.now(), "fleet-admin", &[]));
        let (plain, tls, running) = match place {
            Place::InProcess => past.serve().await,
            Place::Program => past.start().await,
        };
        Self {
            plain,
            tls,
            burnt_key: burnt_key.serialize_pem(),
            words,
            identities,
            authority,
            folder,
            running,
        }
    }

    /// Everything that nobody else may know.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let file = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap();
        let provisioner: Value = serde_json::from_str(&self.authority.provisioner_jwk()).unwrap();
        let words = ["token", "other-token", "revoked-token", "expired-token", "admin"].map(|word| self.word(word));
        let server_key = file("server.key").lines().nth(1).unwrap().to_owned();
        let burnt_key = self.burnt_key.lines().nth(1).unwrap().to_owned();
        let hub_key = file("hub.key").trim().to_owned();
        let provisioner = provisioner["d"].as_str().unwrap().to_owned();
        let mut secrets = vec![PEPPER.to_owned(), provisioner, hub_key, server_key, burnt_key];
        secrets.extend(words);
        secrets
    }

    /// What others on the machine can see of the program: its arguments and its environment.
    pub(crate) fn seen_from_outside(&self) -> String {
        let running = self.running.downcast_ref::<(Running, tokio::task::JoinSet<()>)>();
        let id = running.expect("the program runs").0.0.id();
        let read = |file: &str| String::from_utf8_lossy(&fs::read(format!("/proc/{id}/{file}")).unwrap()).into_owned();
        read("cmdline") + &read("environ")
    }

    pub(crate) fn authority(&self) -> &TestCa {
        &self.authority.server.ca
    }

    pub(crate) fn word(&self, word: &str) -> String {
        self.words
            .get(word)
            .expect("the table uses the words of the stage")
            .clone()
    }

    pub(crate) fn identity(&self, name: &str) -> Identity {
        self.identities[name].clone()
    }

    /// What it said so far; nothing in process.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// What was before: devices that enrolled, and were taken out of service, and tokens.
struct Past<'a> {
    authority: &'a step_ca::World,
    folder: &'a Path,
    network: &'a str,
    people: &'a People,
    hub_key: &'a WireguardPrivateKey,
}

impl Past<'_> {
    async fn live(&self, clock: &Arc<ManualClock>) -> (HashMap<String, String>, HashMap<String, Identity>) {
        let store = self.store(clock.clone()).await;
        let services = self.services(store.clone(), clock.clone());
        services.addressing.begin().await.unwrap();
        let (mut words, mut identities) = (HashMap::new(), HashMap::new());
        words.insert("expired-token".to_owned(), token(&services, "*").await.0);
        identities.insert("expired".to_owned(), enroll(&services, "expired-1").await);
        clock.advance(LONG_AGO);
        words.insert("token".to_owned(), token(&services, "*").await.0);
        words.insert("other-token".to_owned(), token(&services, "somebody-else").await.0);
        let (revoked, id) = token(&services, "*").await;
        services.tokens.revoke(id, &Actor::Console).await.unwrap();
        words.insert("revoked-token".to_owned(), revoked);
        for name in ["held", "revoked"] {
            identities.insert(name.to_owned(), enroll(&services, &format!("{name}-1")).await);
        }
        let gone = DeviceId::parse("revoked-1").unwrap();
        services
            .decommission
            .decommission(&gone, &Actor::Console)
            .await
            .unwrap();
        identities.insert("stranger".to_owned(), stranger(clock.clone()).await);
        store.close().await;
        (words, identities)
    }

    async fn serve(&self) -> (SocketAddr, SocketAddr, Box<dyn Any>) {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let services = self.services(self.store(clock.clone()).await, clock);
        let shutdown = Shutdown::new();
        services.start(&shutdown).await.unwrap();
        let options = Options::new(&services.metrics);
        let doors = Doors { enroll: true };
        let (plain, encrypted) = (listener().await, listener().await);
        let addresses = (plain.local_addr().unwrap(), encrypted.local_addr().unwrap());
        server::serve(plain, services.router(doors), options.clone(), &shutdown);
        let clients = ClientAuthorities::unknown();
        clients.set(&self.authority.server.ca.root_pem(), "").unwrap();
        let files = TlsFiles {
            certificate: self.folder.join("server.crt"),
            key: self.folder.join("server.key"),
        };
        let tls = Some(Tls::load(files, Some(Arc::new(clients))).await.unwrap());
        server::serve(encrypted, services.router(doors), Options { tls, ..options }, &shutdown);
        (
            addresses.0,
            addresses.1,
            Box::new((services, EndsWithTheTest(shutdown))),
        )
    }

    async fn start(&self) -> (SocketAddr, SocketAddr, Box<dyn Any>) {
        let addresses = [listener().await, listener().await, listener().await].map(|it| it.local_addr().unwrap());
        let keys = self.people.jwks();
        let jwks = listener().await;
        let jwks_url = format!("http://{}/jwks", jwks.local_addr().unwrap());
        let mut issuer = tokio::task::JoinSet::new();
        let router = Router::new().route("/jwks", get(async move || axum::Json(keys.clone())));
        issuer.spawn(async move { axum::serve(jwks, router).await.unwrap() });
        let file = |name: &str| self.folder.join(name).display().to_string();
        let settings = [
            ("DATABASE_URL", self.database()),
            ("TOKEN_PEPPER_FILE", file("pepper")),
            ("STEP_CA_URL", self.authority.url.clone()),
            (
                "STEP_CA_FINGERPRINT",
                self.authority.server.ca.fingerprint().to_string(),
            ),
            ("STEP_CA_PROVISIONER_KEY_FILE", file("provisioner.jwk")),
            ("BLOCKED_KEYS_FILE", file("blocked-keys")),
            ("WG_PRIVATE_KEY_FILE", file("hub.key")),
            ("WG_PORT", addresses[2].port().to_string()),
            ("WG_SUBNET", self.network.to_owned()),
            ("OIDC_ISSUER", People::ISSUER.to_owned()),
            ("OIDC_JWKS_URL", jwks_url),
            ("BIND", addresses[0].to_string()),
            ("TLS_BIND", addresses[1].to_string()),
            ("TLS_CERT_FILE", file("server.crt")),
            ("TLS_KEY_FILE", file("server.key")),
            ("LOG_FILTER", "trace".to_owned()),
        ];
        let log = File::create(file("log")).unwrap();
        let mut command = Command::new(program());
        command.env_clear().envs(settings).stdin(Stdio::null());
        let running = Running(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let up = async {
            for address in [addresses[0], addresses[1]] {
                while tokio::net::TcpStream::connect(address).await.is_err() {
                    looks.tick().await;
                }
            }
        };
        let up = tokio::time::timeout(Duration::from_secs(30), up).await;
        assert!(up.is_ok(), "{}", fs::read_to_string(file("log")).unwrap());
        (addresses[0], addresses[1], Box::new((running, issuer)))
    }

    fn database(&self) -> String {
        format!("sqlite://{}", self.folder.join("bridge.db").display())
    }

    async fn store(&self, clock: Arc<dyn Clock>) -> Store {
        let options = StoreOptions::new("bridge-1");
        Store::open(&self.database(), options, clock).await.unwrap()
    }

    fn services(&self, store: Store, clock: Arc<dyn Clock>) -> Services {
        Services::new(Parts {
            store,
            certificate_authority: Arc::new(StepCa::new(self.authority.options(), clock.clone())),
            vpn: Arc::new(TestHub::with_key(self.hub_key.public_key())),
            access_tokens: Arc::new(self.people.verifier(clock.clone())),
            neighbours: NeighbourParts::default(),
            clock,
            settings: Settings {
                network: VpnNetwork::new(self.network.parse().unwrap(), None).unwrap().into(),
                hub_endpoint: "hub.example.com:51820".parse().unwrap(),
                blocked_keys: BlockedKeys::parse(&fs::read_to_string(self.folder.join("blocked-keys")).unwrap())
                    .unwrap(),
                token_pepper: TokenPepper::new(&PEPPER.into()).unwrap(),
                reconcile_every: Duration::from_mins(1),
                observe_every: Duration::from_secs(5),
                trusted_proxies: TrustedProxies::default(),
            },
        })
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

async fn token(services: &Services, pattern: &str) -> (String, uuid::Uuid) {
    let order = TokenOrder::for_batch(IdPattern::parse(pattern).unwrap(), 10_000);
    let fresh = services.tokens.create(order, &Actor::Console).await.unwrap();
    (fresh.secret.expose_secret().to_owned(), fresh.token.id)
}

/// Enrolls a device; returns what it shows at the TLS listener.
async fn enroll(services: &Services, id: &str) -> Identity {
    let key = KeyPair::generate().unwrap();
    let request = Request::post(format!("/devices/{id}/enroll"))
        .header("host", "bridge")
        .header("authorization", format!("Bearer {}", token(services, id).await.0))
        .header("content-type", "application/json")
        .body(Body::from(TestDevice::with_key(id, &key).request().to_string()));
    let router = services.router(Doors { enroll: true });
    let response = tower::ServiceExt::oneshot(router, request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    identity(answer["certificate_chain"].as_str().unwrap(), &key)
}

/// The holder of a good certificate of somebody else's authority.
async fn stranger(clock: Arc<ManualClock>) -> Identity {
    let key = KeyPair::generate().unwrap();
    let chain = TestCa::new(clock).certificate("held-1", &key);
    identity(&chain, &key)
}

fn identity(chain: &str, key: &KeyPair) -> Identity {
    Identity::from_pem(format!("{chain}{}", key.serialize_pem()).as_bytes()).unwrap()
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

struct EndsWithTheTest(Shutdown);

impl Drop for EndsWithTheTest {
    fn drop(&mut self) {
        self.0.end();
    }
}
