//! How the stage is built: the service, once or more often, over one database.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::client_address::TrustedProxies;
use common::chassis::http_client::{self, HttpClientOptions, Trust};
use common::chassis::server::{self, Tls};
use common::chassis::shutdown::Shutdown;
use common::chassis::token::{EndpointLocation, JwksCache, JwksSettings, RoleNames, TokenVerifier, Userinfo};
use common::domain::{DeviceRegistry as _, ManualClock, Timestamp};
use common::store::{Store, StoreOptions};
use fakes::issuer::{FakeIssuer, FakeIssuerOptions};
use terminal_proxy::ports::{RecordingShelf, Storage};
use terminal_proxy::{Limits, Parts, Peers, RecordingRules, Settings, TerminalProxy, TtydSettings};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::http::HeaderName;

use crate::support::{ORIGIN, World, network};
use crate::ttyd::TestDevice;

impl World {
    pub(crate) async fn build(
        change: impl FnOnce(&mut Settings),
        change_storage: impl FnOnce(&mut Storage),
        recordings: Option<Arc<dyn RecordingShelf>>,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_unix_timestamp(1_790_000_000).unwrap()));
        let issuer = FakeIssuer::start_with(FakeIssuerOptions {
            clock: clock.clone(),
            ..FakeIssuerOptions::default()
        })
        .await;
        let store = Store::open("sqlite::memory:", StoreOptions::new("test"), clock.clone())
            .await
            .unwrap();
        store.ensure_pool(&network("10.8.0.0/24")).await.unwrap();
        let mut settings = settings(&issuer);
        change(&mut settings);
        let mut storage = Storage::from(store.clone());
        change_storage(&mut storage);
        let mut world = Self {
            issuer: Arc::new(issuer),
            clock,
            store,
            device: TestDevice::start().await,
            shutdown: Shutdown::new(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        world.start(settings, storage, recordings, Connections::default()).await;
        world.enroll("pump-1").await;
        world.enroll("pump-2").await;
        world
    }

    /// Starts another process of the service beside this one, with the same database, people and devices.
    pub(crate) async fn neighbour(&self, name: &str) -> Self {
        self.neighbour_with(name, Connections::default()).await
    }

    /// Starts another process that finds the others, and is found by them, in its own way.
    pub(crate) async fn neighbour_with(&self, name: &str, connections: Connections) -> Self {
        let mut neighbour = Self {
            issuer: Arc::clone(&self.issuer),
            clock: self.clock.clone(),
            store: self.store.clone(),
            device: Arc::clone(&self.device),
            shutdown: Shutdown::new(),
            address: self.address,
        };
        let mut settings = settings(&self.issuer);
        settings.instance = name.to_owned();
        let storage = Storage::from(self.store.clone());
        neighbour.start(settings, storage, None, connections).await;
        neighbour
    }

    async fn start(
        &mut self,
        settings: Settings,
        storage: Storage,
        recordings: Option<Arc<dyn RecordingShelf>>,
        connections: Connections,
    ) {
        let [listener, for_others] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
        let (listener, for_others) = (listener.await.unwrap(), for_others.await.unwrap());
        self.address = listener.local_addr().unwrap();
        let proxy = TerminalProxy::new(Parts {
            storage,
            verifier: verifier(&self.issuer, self.clock.clone()),
            people: Some(people(&self.issuer)),
            dialer: self.device.clone(),
            recordings,
            peers: Some(connections.peers(for_others.local_addr().unwrap())),
            clock: self.clock.clone(),
            shutdown: self.shutdown.clone(),
            settings,
        });
        proxy.start().await.unwrap();
        server::serve(listener, proxy.router(), proxy.server_options(), &self.shutdown);
        let mut options = proxy.server_options();
        options.tls = connections.tls;
        server::serve(for_others, proxy.router(), options, &self.shutdown);
    }
}

/// How a process is connected with the others.
#[derive(Default)]
pub(crate) struct Connections {
    /// Whose certificates it believes.
    pub(crate) trust: Trust,
    /// What it shows the others; without it they speak HTTP.
    pub(crate) tls: Option<Tls>,
}

impl Connections {
    fn peers(&self, address: SocketAddr) -> Peers {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let options = HttpClientOptions {
            trust: self.trust.clone(),
            ..HttpClientOptions::default()
        };
        Peers {
            url: Some(format!("{scheme}://{address}").parse().unwrap()),
            http: http_client::build(&options).unwrap(),
        }
    }
}

fn settings(issuer: &FakeIssuer) -> Settings {
    Settings {
        instance: "test".to_owned(),
        issuer: issuer.url().to_owned(),
        client_id: FakeIssuer::CLIENT_ID.to_owned(),
        allowed_origins: vec![ORIGIN.parse().unwrap()],
        allowed_hosts: Some(vec!["fleet.example.com".to_owned()]),
        frame_ancestors: "'none'".to_owned(),
        allow_query_token: true,
        network: network("10.8.0.0/24"),
        ttyd: TtydSettings {
            port: 7681,
            user_header: Some(HeaderName::from_static("x-remote-user")),
            connect_timeout: Duration::from_millis(500),
        },
        access_check_every: Duration::from_millis(100),
        limits: Limits::default(),
        recording: RecordingRules::default(),
        recording_retention: None,
        trusted_proxies: TrustedProxies::default(),
    }
}

fn people(issuer: &FakeIssuer) -> Arc<Userinfo> {
    let location = EndpointLocation::Url(issuer.userinfo_url().parse().unwrap());
    let http = http_client::build(&HttpClientOptions::default()).unwrap();
    Arc::new(Userinfo::new(location, RoleNames::default(), http))
}

fn verifier(issuer: &FakeIssuer, clock: Arc<ManualClock>) -> Arc<TokenVerifier> {
    let jwks = JwksSettings {
        location: EndpointLocation::Url(issuer.jwks_url().parse().unwrap()),
        max_age: JwksSettings::DEFAULT_MAX_AGE,
    };
    let http = http_client::build(&HttpClientOptions::default()).unwrap();
    let keys = Arc::new(JwksCache::new(jwks, http, clock.clone()));
    Arc::new(TokenVerifier::new(issuer.rules("terminal-proxy"), keys, clock).unwrap())
}
