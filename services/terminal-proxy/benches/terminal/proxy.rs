//! The proxy as its own `main.rs` puts it together, but for the way to the device.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::chassis::client_address::TrustedProxies;
use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::server;
use common::chassis::shutdown::Shutdown;
use common::chassis::token::{EndpointLocation, JwksCache, JwksSettings, TokenVerifier};
use common::domain::{Clock, DeviceRegistry as _, SystemClock, VpnAddress, VpnNetwork};
use common::store::{Store, StoreOptions};
use fakes::issuer::FakeIssuer;
use terminal_proxy::adapters::RecordingFolder;
use terminal_proxy::ports::{DeviceDialer, DeviceStream, DialError, Storage};
use terminal_proxy::{Limits, Parts, RecordingPolicy, RecordingRules, Settings, TerminalProxy, TtydSettings};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// More than any measurement opens.
const MANY: usize = 100_000;

/// How many devices there are; all of them are one process.
const DEVICES: usize = 128;

/// Their names.
pub(crate) fn devices() -> impl Iterator<Item = String> {
    (1..=DEVICES).map(|number| format!("pump-{number}"))
}

/// Serves until its parent ends it; says its port and a token first.
#[tokio::main]
pub(crate) async fn serve(arguments: &str) {
    let mut arguments = arguments.split(' ');
    let (device_port, database) = (arguments.next().unwrap(), arguments.next().unwrap());
    let recordings = arguments.next().map(Path::new);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let issuer = FakeIssuer::start().await;
    let url = format!("sqlite://{database}");
    let store = Store::open(&url, StoreOptions::new("bench"), Arc::clone(&clock))
        .await
        .unwrap();
    let network = VpnNetwork::new("10.8.0.0/16".parse().unwrap(), None).unwrap();
    store.ensure_pool(&network).await.unwrap();
    for name in devices() {
        fakes::fleet::enroll(&store, clock.as_ref(), &name).await;
    }
    let shutdown = Shutdown::new();
    let proxy = TerminalProxy::new(Parts {
        storage: Storage::from(store),
        verifier: verifier(&issuer, &clock),
        peers: None,
        people: None,
        dialer: Arc::new(Loopback(device_port.parse().unwrap())),
        recordings: recordings.map(|folder| Arc::new(RecordingFolder::open(folder).unwrap()) as _),
        clock,
        shutdown: shutdown.clone(),
        settings: settings(&issuer, network, recordings.is_some()),
    });
    proxy.start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    server::serve(listener, proxy.router(), proxy.server_options(), &shutdown);
    println!("{port} {}", issuer.token_for("operator"));
    std::future::pending::<()>().await;
}

/// The socket dialler, with the device on this machine.
struct Loopback(u16);

#[async_trait]
impl DeviceDialer for Loopback {
    async fn dial(&self, _: VpnAddress, _: u16, _: Instant) -> Result<Box<dyn DeviceStream>, DialError> {
        let stream = TcpStream::connect(("127.0.0.1", self.0)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(Box::new(stream))
    }
}

fn verifier(issuer: &FakeIssuer, clock: &Arc<dyn Clock>) -> Arc<TokenVerifier> {
    let jwks = JwksSettings {
        location: EndpointLocation::Url(issuer.jwks_url().parse().unwrap()),
        max_age: JwksSettings::DEFAULT_MAX_AGE,
    };
    let http = http_client::build(&HttpClientOptions::default()).unwrap();
    let keys = Arc::new(JwksCache::new(jwks, http, Arc::clone(clock)));
    Arc::new(TokenVerifier::new(issuer.rules("terminal-proxy"), keys, Arc::clone(clock)).unwrap())
}

fn settings(issuer: &FakeIssuer, network: VpnNetwork, is_recorded: bool) -> Settings {
    let policy = if is_recorded {
        RecordingPolicy::Required
    } else {
        RecordingPolicy::Off
    };
    Settings {
        instance: "bench".to_owned(),
        issuer: issuer.url().to_owned(),
        client_id: FakeIssuer::CLIENT_ID.to_owned(),
        allowed_origins: Vec::new(),
        allowed_hosts: None,
        frame_ancestors: "'none'".to_owned(),
        allow_query_token: false,
        network,
        ttyd: TtydSettings {
            port: 7681,
            user_header: None,
            connect_timeout: Duration::from_secs(5),
        },
        access_check_every: Duration::from_secs(20),
        limits: Limits {
            max_sessions: MANY,
            max_sessions_per_user: MANY,
            max_sessions_per_device: MANY,
            ..Limits::default()
        },
        recording: RecordingRules {
            policy,
            max_bytes: u64::MAX,
            ..RecordingRules::default()
        },
        recording_retention: None,
        trusted_proxies: TrustedProxies::default(),
    }
}
