//! A bridge that enrolls whoever asks, and that a test can make lie.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use common::domain::Digest;
use device::enroll::{EnrollSettings, Patience, ServerTrust};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) const TOKEN: &str = "ib_test-token";

/// The clock of this bridge: the middle of its certificates' validity.
pub(crate) const NOW: OffsetDateTime = time::macros::datetime!(2030-06-01 12:00 UTC);

/// A certificate authority: root → intermediate → leaf.
pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    hub_key: String,
    hub_endpoint: SocketAddr,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let unused = common::domain::WireguardPrivateKey::generate().public_key();
        Self::with_hub(&unused.to_base64(), (Ipv4Addr::LOCALHOST, 9).into())
    }

    pub(crate) fn with_hub(hub_key: &str, hub_endpoint: SocketAddr) -> Self {
        let root = CertifiedIssuer::self_signed(authority_params("root"), KeyPair::generate().unwrap()).unwrap();
        let params = authority_params("intermediate");
        let intermediate = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &root).unwrap();
        Self {
            root,
            intermediate,
            hub_key: hub_key.to_owned(),
            hub_endpoint,
        }
    }

    /// The right answer to a request for this id.
    pub(crate) fn answer(&self, id: &str, request: &Value) -> Value {
        self.answer_with(id, request, leaf_params(id))
    }

    /// The right answer with another certificate.
    pub(crate) fn answer_with(&self, id: &str, request: &Value, params: CertificateParams) -> Value {
        let csr = CertificateSigningRequestParams::from_pem(request["csr"].as_str().unwrap()).unwrap();
        let leaf = params.signed_by(&csr.public_key, &self.intermediate).unwrap().pem();
        let (intermediate, root) = (self.intermediate.pem(), self.root.pem());
        let config = format!(
            "[Interface]\nPrivateKey = <REPLACE_WITH_DEVICE_PRIVATE_KEY>\nAddress = 10.8.0.2/32\nMTU = 1420\n\n\
             [Peer]\nPublicKey = {}\nEndpoint = {}\nAllowedIPs = 10.8.0.1/32\nPersistentKeepalive = 25\n",
            self.hub_key, self.hub_endpoint
        );
        json!({
            "device_id": id,
            "certificate": leaf,
            "certificate_chain": format!("{leaf}{intermediate}"),
            "ca_chain": format!("{intermediate}{root}"),
            "not_after": not_after().format(&Rfc3339).unwrap(),
            "wireguard_ip": "10.8.0.2",
            "wireguard_config": config,
            "server_time": NOW.format(&Rfc3339).unwrap(),
        })
    }

    pub(crate) fn root_pem(&self) -> String {
        self.root.pem()
    }

    fn tls(&self) -> ServerConfig {
        let (chain, key) = self.server_certificate(&CertificateParams::default());
        let builder = tls_builder();
        builder.with_no_client_auth().with_single_cert(chain, key).unwrap()
    }

    /// TLS that asks clients for a certificate of this authority or of another; its own is valid as the params say.
    pub(crate) fn mutual_tls(&self, other: &Self, validity: &CertificateParams) -> ServerConfig {
        let (chain, key) = self.server_certificate(validity);
        let mut roots = rustls::RootCertStore::empty();
        for authority in [self, other] {
            roots.add(authority.root.der().clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let clients = clients.allow_unauthenticated().build().unwrap();
        let builder = tls_builder().with_client_cert_verifier(clients);
        builder.with_single_cert(chain, key).unwrap()
    }

    fn server_certificate(
        &self,
        validity: &CertificateParams,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        (params.not_before, params.not_after) = (validity.not_before, validity.not_after);
        let leaf = params.signed_by(&key, &self.intermediate).unwrap();
        let chain = vec![leaf.der().clone(), self.intermediate.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (chain, key)
    }
}

fn tls_builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    builder.with_safe_default_protocol_versions().unwrap()
}

pub(crate) fn leaf_params(id: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![id.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = NOW - Duration::from_mins(1);
    params.not_after = not_after();
    params
}

fn not_after() -> OffsetDateTime {
    NOW + Duration::from_hours(24)
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// What the bridge was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) authorization: String,
    pub(crate) body: Value,
}

type Behaviour = dyn Fn(&Authority, &Asked, usize) -> Response + Send + Sync;

struct World {
    authority: Authority,
    asked: Mutex<Vec<Asked>>,
    /// What the programs on a device need; none while it does not answer.
    configuration: Mutex<Option<Value>>,
    behaviour: Box<Behaviour>,
}

/// A bridge on a port of its own; it ends when it is dropped.
pub(crate) struct Bridge {
    address: SocketAddr,
    world: Arc<World>,
    _server: JoinSet<io::Result<()>>,
}

impl Bridge {
    /// An honest bridge.
    pub(crate) async fn honest(authority: Authority) -> Self {
        Self::start(authority, |authority, asked, _| {
            created(&authority.answer(&asked.id, &asked.body))
        })
        .await
    }

    /// A bridge that answers the n-th request, counted from 0, in its own way.
    pub(crate) async fn start(
        authority: Authority,
        behaviour: impl Fn(&Authority, &Asked, usize) -> Response + Send + Sync + 'static,
    ) -> Self {
        let (listener, world) = (bind().await, world(authority, behaviour));
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        let router = router(Arc::clone(&world));
        server.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            world,
            _server: server,
        }
    }

    /// An honest bridge behind TLS.
    pub(crate) async fn honest_tls() -> Self {
        let behaviour = |authority: &Authority, asked: &Asked, _| created(&authority.answer(&asked.id, &asked.body));
        let (listener, world) = (bind().await, world(Authority::new(), behaviour));
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(world.authority.tls()));
        let mut server = JoinSet::new();
        let router = router(Arc::clone(&world));
        server.spawn(async move { axum::serve(TlsListener { listener, acceptor }, router).await });
        Self {
            address,
            world,
            _server: server,
        }
    }

    pub(crate) fn settings(&self) -> EnrollSettings {
        self.settings_with("http", ServerTrust::Loopback)
    }

    pub(crate) fn settings_with(&self, scheme: &str, trust: ServerTrust) -> EnrollSettings {
        EnrollSettings {
            url: format!("{scheme}://{}/", self.address).parse().unwrap(),
            trust,
            token: TOKEN.into(),
            device_type: Some("pump".to_owned()),
            device_name: None,
            patience: Patience {
                shortest: Duration::ZERO,
                longest: Duration::ZERO,
                total: Duration::from_secs(5),
            },
        }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.world.asked.lock().unwrap().clone()
    }

    /// Tells devices this from now on.
    pub(crate) fn configures(&self, configuration: Value) {
        *self.world.configuration.lock().unwrap() = Some(configuration);
    }

    /// Does not answer what programs need any more.
    pub(crate) fn is_away(&self) {
        *self.world.configuration.lock().unwrap() = None;
    }

    pub(crate) fn root_pem(&self) -> String {
        self.world.authority.root.pem()
    }

    pub(crate) fn root_fingerprint(&self) -> Digest {
        Digest::of(self.world.authority.root.der())
    }
}

pub(crate) fn created(answer: &Value) -> Response {
    (StatusCode::CREATED, answer.to_string()).into_response()
}

pub(crate) async fn bind() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

fn world(
    authority: Authority,
    behaviour: impl Fn(&Authority, &Asked, usize) -> Response + Send + Sync + 'static,
) -> Arc<World> {
    Arc::new(World {
        authority,
        asked: Mutex::default(),
        configuration: Mutex::default(),
        behaviour: Box::new(behaviour),
    })
}

fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/devices/{id}/enroll", post(enroll))
        .route("/devices/{id}/configuration", get(configuration))
        .route(
            "/ca/roots",
            get(|State(world): State<Arc<World>>| async move { world.authority.root.pem() }),
        )
        .with_state(world)
}

async fn enroll(State(world): State<Arc<World>>, Path(id): Path<String>, headers: HeaderMap, body: String) -> Response {
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    let asked = Asked {
        id,
        authorization,
        body: serde_json::from_str(&body).unwrap(),
    };
    let number = {
        let mut all = world.asked.lock().unwrap();
        all.push(asked.clone());
        all.len() - 1
    };
    (world.behaviour)(&world.authority, &asked, number)
}

async fn configuration(State(world): State<Arc<World>>) -> Response {
    let configuration = world.configuration.lock().unwrap().clone();
    configuration.map_or(StatusCode::SERVICE_UNAVAILABLE.into_response(), |it| {
        it.to_string().into_response()
    })
}

pub(crate) struct TlsListener {
    pub(crate) listener: TcpListener,
    pub(crate) acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            // A client that does not believe us breaks the handshake off.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
