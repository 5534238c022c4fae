//! terminal-proxy in this process, with the dialler of production.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::client_address::TrustedProxies;
use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::server;
use common::chassis::shutdown::Shutdown;
use common::chassis::token::{EndpointLocation, JwksCache, JwksSettings, TokenVerifier};
use common::domain::{Clock, DeviceRegistry as _, SessionLedger as _, SystemClock, VpnNetwork};
use common::store::{Store, StoreOptions};
use fakes::issuer::FakeIssuer;
use terminal_proxy::adapters::SocketNetwork;
use terminal_proxy::ports::Storage;
use terminal_proxy::{Limits, Parts, Settings, TerminalProxy, TtydSettings};
use tokio::net::TcpListener;
use tokio::time::{interval, timeout};

use super::terminal::Terminal;
use crate::failure::Failure;
use crate::real::ttyd::{NETWORK, PORT, USER_HEADER};

const DEVICE: &str = "pump-1";

/// How long a record may take to be closed.
const RECORD_DEADLINE: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

pub(super) struct Proxy {
    issuer: FakeIssuer,
    pub(super) store: Store,
    pub(super) shutdown: Shutdown,
    address: SocketAddr,
}

impl Proxy {
    pub(super) async fn start() -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open("sqlite::memory:", StoreOptions::new("ttyd"), Arc::clone(&clock)).await?;
        store.ensure_pool(&network()?).await?;
        fakes::fleet::enroll(&store, clock.as_ref(), DEVICE).await;
        Self::with(FakeIssuer::start().await, store).await
    }

    /// Starts the process after this one, with the same database.
    pub(super) async fn again(self) -> Result<Self, Failure> {
        Self::with(self.issuer, self.store).await
    }

    async fn with(issuer: FakeIssuer, store: Store) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let shutdown = Shutdown::new();
        let proxy = TerminalProxy::new(Parts {
            storage: Storage::from(store.clone()),
            verifier: verifier(&issuer, &clock)?,
            people: None,
            dialer: Arc::new(SocketNetwork),
            recordings: None,
            peers: None,
            clock,
            shutdown: shutdown.clone(),
            settings: settings(&issuer)?,
        });
        proxy.start().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        server::serve(listener, proxy.router(), proxy.server_options(), &shutdown);
        Ok(Self {
            issuer,
            store,
            shutdown,
            address,
        })
    }

    /// Opens a terminal of 100 columns and 30 rows as the operator.
    pub(super) async fn open(&self) -> Result<Terminal, Failure> {
        let token = self.issuer.token_for("operator");
        Terminal::open(self.address, &format!("/terminal/{DEVICE}"), &token).await
    }

    /// The same with numbered output.
    pub(super) async fn open_to_resume(&self) -> Result<Terminal, Failure> {
        let token = self.issuer.token_for("operator");
        Terminal::open_to_resume(self.address, &format!("/terminal/{DEVICE}"), &token).await
    }

    /// Lets a terminal come back over another connection.
    pub(super) async fn come_back(&self, terminal: Terminal, drop_first: bool) -> Result<Terminal, Failure> {
        let token = self.issuer.token_for("operator");
        let path = format!("/terminal/{DEVICE}");
        terminal.come_back(self.address, &path, &token, drop_first).await
    }

    /// Waits for the record of the newest session's end.
    pub(super) async fn last_session_ended_as(&self, expected: &str) -> Result<(), Failure> {
        let closed = async {
            let mut looks = interval(LOOK_INTERVAL);
            loop {
                looks.tick().await;
                let newest = self.store.sessions(None, false).await?.into_iter().next();
                if let Some(reason) = newest.and_then(|record| record.reason) {
                    return Ok::<_, Failure>(reason);
                }
            }
        };
        let reason = timeout(RECORD_DEADLINE, closed).await??;
        crate::failure::ensure(reason == expected, format_args!("the session ended as {reason}"))
    }
}

fn network() -> Result<VpnNetwork, Failure> {
    Ok(VpnNetwork::new(NETWORK.parse()?, None)?)
}

fn verifier(issuer: &FakeIssuer, clock: &Arc<dyn Clock>) -> Result<Arc<TokenVerifier>, Failure> {
    let jwks = JwksSettings {
        location: EndpointLocation::Url(issuer.jwks_url().parse()?),
        max_age: JwksSettings::DEFAULT_MAX_AGE,
    };
    let http = http_client::build(&HttpClientOptions::default())?;
    let keys = Arc::new(JwksCache::new(jwks, http, Arc::clone(clock)));
    let rules = issuer.rules("terminal-proxy");
    Ok(Arc::new(TokenVerifier::new(rules, keys, Arc::clone(clock))?))
}

fn settings(issuer: &FakeIssuer) -> Result<Settings, Failure> {
    Ok(Settings {
        instance: "ttyd".to_owned(),
        issuer: issuer.url().to_owned(),
        client_id: FakeIssuer::CLIENT_ID.to_owned(),
        allowed_origins: Vec::new(),
        allowed_hosts: None,
        frame_ancestors: "'none'".to_owned(),
        allow_query_token: false,
        network: network()?,
        ttyd: TtydSettings {
            port: PORT,
            user_header: Some(USER_HEADER.parse()?),
            connect_timeout: Duration::from_secs(5),
        },
        access_check_every: Duration::from_secs(20),
        limits: Limits::default(),
        recording: terminal_proxy::RecordingRules::default(),
        recording_retention: None,
        trusted_proxies: TrustedProxies::default(),
    })
}
