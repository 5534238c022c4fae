//! Both services in one process, from their libraries, with embedded parts behind the same ports.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::chassis::client_address::TrustedProxies;
use common::chassis::config::{ConfigError, listen};
use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::metrics::HttpMetrics;
use common::chassis::server::{self, Options};
use common::chassis::shutdown::Shutdown;
use common::chassis::token::{
    EndpointLocation, JwksCache, JwksSettings, RoleNames, TokenRules, TokenVerifier, Userinfo,
};
use common::domain::{Clock, CurrentNetwork, SystemClock, VpnNetwork};
use common::store::{Store, StoreOptions};
use http::HeaderName;
use iot_bridge_api::adapters::wireguard::WireguardHub;
use iot_bridge_api::app::blocked_keys::BlockedKeys;
use iot_bridge_api::app::token_secret::TokenPepper;
use iot_bridge_api::{Doors, NeighbourParts, Parts, Services, Settings};
use oidc_issuer::client::{self, Login};
use oidc_issuer::{ClientConfig, Issuer, IssuerConfig, UserConfig};
use secrecy::SecretString;
use terminal_proxy::adapters::{EmbeddedNetwork, RecordingFolder};
use terminal_proxy::{RecordingPolicy, RecordingRules, TerminalProxy, TtydSettings, WebOrigin};
use tokio::net::TcpListener;
use url::Url;
use wireguard::quick::HubEndpoint;
use wireguard::{EmbeddedHub, HubConfig};

use crate::config::Config;
use crate::data::{DataFolder, random_secret};
use crate::embedded_ca::EmbeddedCa;
use crate::operator::Operator;
use crate::progress::Progress;

/// The one person of the demo.
pub(crate) const USERNAME: &str = "demo";
/// The OpenID Connect client of the web page.
const CLIENT: &str = "terminal-widget";
const BRIDGE: &str = "iot-bridge-api";
const PROXY: &str = "terminal-proxy";
/// The device network.
const NETWORK: &str = "10.8.0.0/24";
/// Longest recording of a terminal.
const MAX_RECORDING_BYTES: u64 = 256 * 1024 * 1024;
/// How a device learns who opened its terminal (ttyd's `-H`).
pub(crate) const OPERATOR_HEADER: HeaderName = HeaderName::from_static("x-remote-user");

/// What runs.
#[derive(Debug)]
pub(crate) struct Platform {
    /// The bridge.
    pub(crate) api: Url,
    /// The proxy and its page.
    pub(crate) proxy: Url,
    /// Where devices find the hub.
    pub(crate) hub: HubEndpoint,
    /// The demo person's password, made at this start.
    pub(crate) password: SecretString,
    /// The database.
    pub(crate) store: Store,
    issuer: Url,
    redirect: Url,
    http: reqwest::Client,
}

/// The listeners, all on loopback; no option widens that.
struct Listeners {
    login: TcpListener,
    api: TcpListener,
    proxy: TcpListener,
}

impl Platform {
    /// Starts everything but the devices.
    pub(crate) async fn start(
        config: &Config,
        data: &DataFolder,
        shutdown: &Shutdown,
        progress: &mut Progress,
    ) -> Result<Self, Box<dyn Error>> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let listeners = Listeners::bind(config).await?;
        let (issuer, api, proxy) = listeners.urls()?;
        let http = http_client::build(&HttpClientOptions::default())?;
        let store = Store::open(&data.database_url(), StoreOptions::new("quickstart"), clock.clone()).await?;
        progress.done("database", "SQLite, in a folder");

        let crl_url = api.join("ca/crl")?;
        let authority = EmbeddedCa::open(&data.authority(), crl_url.into(), clock.clone())?;
        progress.done("authority", "root → intermediate → leaf, in a folder");

        let password = random_secret();
        let login = login_config(&issuer, &proxy, &password);
        serve_login(listeners.login, login, clock.clone(), shutdown).await?;
        let keys = signing_keys(&issuer, &http, clock.clone(), shutdown);
        progress.done("login", &issuer);

        let network = CurrentNetwork::from(VpnNetwork::new(NETWORK.parse()?, None)?);
        let hub = start_hub(network.get(), data, clock.clone()).await?;
        let hub_endpoint: HubEndpoint = hub.listen_address().to_string().parse()?;
        progress.done("hub", format_args!("WireGuard on udp {hub_endpoint}"));

        let bridge = Services::new(Parts {
            store: store.clone(),
            certificate_authority: Arc::new(authority),
            vpn: Arc::new(WireguardHub::new(hub.clone(), network.clone())),
            access_tokens: verifier(&issuer, BRIDGE, &keys, &clock)?,
            neighbours: NeighbourParts::default(),
            clock: clock.clone(),
            settings: bridge_settings(network.clone(), hub_endpoint.clone(), data)?,
        });
        bridge.start(shutdown).await?;
        let router = bridge.router(Doors { enroll: true });
        server::serve(listeners.api, router, Options::new(&bridge.metrics), shutdown);
        progress.done("api", &api);

        let terminal = TerminalProxy::new(terminal_proxy::Parts {
            storage: store.clone().into(),
            verifier: verifier(&issuer, PROXY, &keys, &clock)?,
            peers: None,
            people: Some(Arc::new(people(&issuer, &http))),
            dialer: Arc::new(EmbeddedNetwork(hub)),
            recordings: Some(Arc::new(RecordingFolder::open(&data.recordings())?)),
            clock,
            shutdown: shutdown.clone(),
            settings: proxy_settings(config, network.get(), &issuer, &proxy)?,
        });
        terminal.start().await?;
        server::serve(listeners.proxy, terminal.router(), terminal.server_options(), shutdown);
        progress.done("proxy", &proxy);
        let redirect = proxy.join("ui/callback")?;
        Ok(Self {
            api,
            proxy,
            hub: hub_endpoint,
            password,
            store,
            issuer,
            redirect,
            http,
        })
    }

    /// Logs in as the demo person, by the same flow as a browser.
    pub(crate) async fn log_in(&self) -> Result<Operator, Box<dyn Error>> {
        let login = Login {
            issuer: &self.issuer,
            client_id: CLIENT,
            redirect_uri: self.redirect.as_str(),
            username: USERNAME,
            password: &self.password,
        };
        let tokens = client::login(&self.http, &login).await?;
        Ok(Operator::new(
            self.http.clone(),
            self.api.clone(),
            self.proxy.clone(),
            tokens.access_token,
        ))
    }
}

impl Listeners {
    async fn bind(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            login: listen("--login-port", loopback(config.login_port)).await?,
            api: listen("--api-port", loopback(config.api_port)).await?,
            proxy: listen("--proxy-port", loopback(config.proxy_port)).await?,
        })
    }

    /// Returns the addresses of issuer, bridge and proxy.
    fn urls(&self) -> Result<(Url, Url, Url), Box<dyn Error>> {
        let url = |listener: &TcpListener| Ok::<_, Box<dyn Error>>(Url::parse(&origin(listener.local_addr()?))?);
        Ok((
            url(&self.login)?.join("realms/demo")?,
            url(&self.api)?,
            url(&self.proxy)?,
        ))
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn origin(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn login_config(issuer: &Url, proxy: &Url, password: &SecretString) -> IssuerConfig {
    let page = |path: &str| proxy.join(path).expect("the paths are written here");
    IssuerConfig {
        issuer_url: issuer.clone(),
        clients: vec![ClientConfig {
            client_id: CLIENT.to_owned(),
            redirect_uris: vec![page("ui/callback"), page("")],
            audiences: vec![PROXY.to_owned(), BRIDGE.to_owned()],
            web_origins: vec![proxy.origin().ascii_serialization()],
        }],
        users: vec![UserConfig {
            username: USERNAME.to_owned(),
            password: password.clone(),
            roles: vec![RoleNames::default().admin],
            groups: vec!["/fleets/default".to_owned()],
            subject: "00000000-0000-4000-8000-000000000001".to_owned(),
        }],
        access_token_lifetime: IssuerConfig::DEFAULT_ACCESS_TOKEN_LIFETIME,
    }
}

async fn serve_login(
    listener: TcpListener,
    config: IssuerConfig,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Result<(), Box<dyn Error>> {
    // Making its RSA key takes a moment.
    let issuer = tokio::task::spawn_blocking(move || Issuer::new(config, clock)).await??;
    let metrics = HttpMetrics::register(&mut prometheus_client::registry::Registry::default(), "login", "");
    server::serve(listener, issuer.router(), Options::new(&metrics), shutdown);
    Ok(())
}

async fn start_hub(
    network: VpnNetwork,
    data: &DataFolder,
    clock: Arc<dyn Clock>,
) -> Result<Arc<EmbeddedHub>, Box<dyn Error>> {
    let config = HubConfig {
        private_key: data.hub_key()?,
        network,
        listen: loopback(0),
        clock,
    };
    Ok(Arc::new(EmbeddedHub::start(config).await?))
}

fn signing_keys(issuer: &Url, http: &reqwest::Client, clock: Arc<dyn Clock>, shutdown: &Shutdown) -> Arc<JwksCache> {
    let location = EndpointLocation::Discovery {
        issuer: issuer.as_str().to_owned(),
    };
    let settings = JwksSettings {
        location,
        max_age: JwksSettings::DEFAULT_MAX_AGE,
    };
    let keys = Arc::new(JwksCache::new(settings, http.clone(), clock));
    shutdown.spawn(keys.clone().refresh_task(shutdown.token()));
    keys
}

fn people(issuer: &Url, http: &reqwest::Client) -> Userinfo {
    let location = EndpointLocation::Discovery {
        issuer: issuer.as_str().to_owned(),
    };
    Userinfo::new(location, RoleNames::default(), http.clone())
}

fn verifier(
    issuer: &Url,
    audience: &str,
    keys: &Arc<JwksCache>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<TokenVerifier>, Box<dyn Error>> {
    let rules = TokenRules {
        issuer: issuer.as_str().to_owned(),
        audience: audience.to_owned(),
        authorized_parties: vec![CLIENT.to_owned()],
        roles: RoleNames::default(),
        max_lifetime: TokenRules::DEFAULT_MAX_LIFETIME,
        leeway: TokenRules::MAX_LEEWAY,
    };
    Ok(Arc::new(TokenVerifier::new(rules, keys.clone(), clock.clone())?))
}

fn bridge_settings(network: CurrentNetwork, hub: HubEndpoint, data: &DataFolder) -> Result<Settings, Box<dyn Error>> {
    Ok(Settings {
        network,
        hub_endpoint: hub,
        blocked_keys: BlockedKeys::default(),
        token_pepper: TokenPepper::new(&data.token_pepper()?)?,
        reconcile_every: Duration::from_secs(30),
        observe_every: Duration::from_secs(2),
        trusted_proxies: TrustedProxies::default(),
    })
}

fn proxy_settings(
    config: &Config,
    network: VpnNetwork,
    issuer: &Url,
    proxy: &Url,
) -> Result<terminal_proxy::Settings, Box<dyn Error>> {
    let limits = terminal_proxy::Limits::default();
    let origin = WebOrigin::of(proxy).ok_or("the proxy's address has no origin")?;
    Ok(terminal_proxy::Settings {
        instance: "quickstart".to_owned(),
        issuer: issuer.as_str().to_owned(),
        client_id: CLIENT.to_owned(),
        allowed_hosts: Some(vec![origin.authority().to_owned()]),
        allowed_origins: vec![origin],
        frame_ancestors: config.frame_ancestors.clone(),
        allow_query_token: false,
        network,
        ttyd: TtydSettings {
            port: device::terminal::PORT,
            user_header: Some(OPERATOR_HEADER),
            connect_timeout: limits.connect_timeout(),
        },
        access_check_every: limits.access_check(),
        limits,
        recording: RecordingRules {
            policy: RecordingPolicy::On,
            max_bytes: MAX_RECORDING_BYTES,
            ..RecordingRules::default()
        },
        recording_retention: None,
        trusted_proxies: TrustedProxies::default(),
    })
}
