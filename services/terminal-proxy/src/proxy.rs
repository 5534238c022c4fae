//! The composition: which use case gets which port.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use common::chassis::client_address::TrustedProxies;
use common::chassis::layers::{self, Layers};
use common::chassis::metrics::HttpMetrics;
use common::chassis::rate_limit::FailureLimiter;
use common::chassis::shutdown::Shutdown;
use common::chassis::token::{TokenVerifier, Userinfo};
use common::chassis::{health, openapi, server};
use common::domain::{Clock, StoreError, VpnNetwork};
use prometheus_client::registry::Registry;
use tracing::info;

use crate::access::Access;
use crate::addresses::Addresses;
use crate::config::Limits;
use crate::doctor::Doctor;
use crate::http::{self, AppState, Everything, Page};
use crate::neighbours::{Neighbours, Peers};
use crate::origin::WebOrigin;
use crate::ports::{DeviceDialer, RecordingShelf, Storage};
use crate::recording::{RecordingRules, Retention};
use crate::session::{SessionPorts, SessionRules, Sessions};
use crate::terminals::Terminals;
use crate::upstream::{TtydSettings, Upstream};
use crate::watching::Watching;

/// The name of the service, in health answers, metrics and logs.
const SERVICE: &str = "terminal-proxy";

/// Most sockets of browsers at once: thousands who never finish a request leave room for those who do.
const MAX_CONNECTIONS: usize = 16_384;

/// What every route does, for people.
const API: &str = include_str!("../../../docs/api.md");

/// What the service needs from whoever starts it.
pub struct Parts {
    /// The database; `Storage::from(store)`.
    pub storage: Storage,
    /// Who tells who an operator is.
    pub verifier: Arc<TokenVerifier>,
    /// Who tells whether they still are who they were; none to believe tokens until they end.
    pub people: Option<Arc<Userinfo>>,
    /// The way to devices.
    pub dialer: Arc<dyn DeviceDialer>,
    /// Where recordings are kept; none where nothing is ever recorded.
    pub recordings: Option<Arc<dyn RecordingShelf>>,
    /// The other processes of this service; none where there are none.
    pub peers: Option<Peers>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The owner of every task.
    pub shutdown: Shutdown,
    /// The rest.
    pub settings: Settings,
}

impl fmt::Debug for Parts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Parts")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of this process in session records, unlike any other process's.
    pub instance: String,
    /// The issuer's address as browsers reach it.
    pub issuer: String,
    /// The client that the page logs in as.
    pub client_id: String,
    /// The origins of the pages that may open terminals, the service's own included.
    pub allowed_origins: Vec<WebOrigin>,
    /// What `Host` may say; none for anything.
    pub allowed_hosts: Option<Vec<String>>,
    /// Who may show the page in a frame: the value of the CSP directive.
    pub frame_ancestors: String,
    /// Whether an access token may come in the query.
    pub allow_query_token: bool,
    /// The address range of the device network.
    pub network: VpnNetwork,
    /// How to speak to ttyd on devices.
    pub ttyd: TtydSettings,
    /// How often the people behind sessions are asked about.
    pub access_check_every: Duration,
    /// What a session and the whole process may cost.
    pub limits: Limits,
    /// Which sessions are recorded.
    pub recording: RecordingRules,
    /// How long recordings are kept; none for ever.
    pub recording_retention: Option<Duration>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
}

/// The service, ready to be started and served. Nothing runs before [`TerminalProxy::start`].
pub struct TerminalProxy {
    state: AppState,
    registry: Arc<Registry>,
    metrics: HttpMetrics,
    storage: Storage,
    retention: Option<Retention>,
    people: Option<(Arc<Userinfo>, Duration)>,
    trusted_proxies: TrustedProxies,
}

impl fmt::Debug for TerminalProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TerminalProxy").finish_non_exhaustive()
    }
}

impl TerminalProxy {
    /// Puts the service together.
    pub fn new(parts: Parts) -> Self {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry, SERVICE, env!("CARGO_PKG_VERSION"));
        let (retention, neighbours, doors) = (retention(&parts), neighbours(&parts), doors(&parts.settings));
        let (for_sessions, rules) = (session_ports(&parts), session_rules(&parts));
        let sessions = Sessions::new(for_sessions, rules, &mut registry);
        let (storage, clock, settings) = (parts.storage, parts.clock, parts.settings);
        let limits = &settings.limits;
        let access = Arc::new(Access::new(
            parts.verifier,
            &storage,
            Arc::clone(&clock),
            limits.ticket_lifetime(),
        ));
        let upstream = Arc::new(Upstream::new(parts.dialer, settings.ttyd));
        let addresses = Addresses::new(settings.network, Arc::clone(&storage.plan));
        let terminals = Terminals::new(
            Arc::clone(&access),
            addresses.clone(),
            Arc::clone(&sessions),
            Arc::clone(&upstream),
        );
        let asked = (parts.people.clone(), Arc::clone(&clock));
        let doctor = Doctor::new(&storage, asked, addresses, Arc::clone(&sessions), upstream);
        let page = Page::new(&settings.issuer, &settings.client_id, &settings.frame_ancestors, clock);
        let watching = Watching::new(Arc::clone(&access), Arc::clone(&sessions), Arc::clone(&storage.audit));
        let state = Everything {
            watching: Arc::new(watching),
            recordings: parts.recordings,
            access,
            terminals: Arc::new(terminals),
            sessions,
            neighbours: Arc::new(neighbours),
            doctor: Arc::new(doctor),
            directory: Arc::clone(&storage.directory),
            failures: Arc::new(FailureLimiter::new(
                limits.max_failures_per_minute,
                Duration::from_mins(1),
            )),
            doors: Arc::new(doors),
            page: Arc::new(page),
            shutdown: parts.shutdown,
        };
        Self {
            state: state.into(),
            registry: Arc::new(registry),
            metrics,
            storage,
            retention,
            people: parts.people.map(|people| (people, settings.access_check_every)),
            trusted_proxies: settings.trusted_proxies,
        }
    }

    /// Closes the records of sessions that a former life of this process left open, and watches over the new
    /// ones from now on.
    pub async fn start(&self) -> Result<(), StoreError> {
        let orphans = self.state.sessions.close_orphans().await?;
        if orphans > 0 {
            info!(
                sessions = orphans,
                "Closed {orphans} sessions of a process that did not end well"
            );
        }
        drop(self.state.shutdown.spawn(Arc::clone(&self.state.sessions).watch()));
        let announce = Arc::clone(&self.state.neighbours).announce(self.state.shutdown.token());
        drop(self.state.shutdown.spawn(announce));
        if let Some((people, every)) = &self.people {
            let sessions = Arc::clone(&self.state.sessions);
            let ask = sessions.ask_about_people(Arc::clone(people), *every);
            drop(self.state.shutdown.spawn(ask));
        }
        if let Some(retention) = &self.retention {
            let tidy = retention.clone().tidy_up(self.state.shutdown.token());
            drop(self.state.shutdown.spawn(tidy));
        }
        Ok(())
    }

    /// Returns the whole HTTP interface.
    pub fn router(&self) -> Router {
        let probes = vec![Arc::clone(&self.storage.probe)];
        let health = health::router(SERVICE, probes, Arc::clone(&self.registry));
        let layers = Layers {
            limits: layers::Limits::default(),
            metrics: self.metrics.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
        };
        let described = openapi::router(SERVICE, env!("CARGO_PKG_VERSION"), API);
        layers::standard(http::router(self.state.clone()).merge(health).merge(described), layers)
    }

    /// Returns how a listener of the service is served, without TLS.
    pub fn server_options(&self) -> server::Options {
        server::Options {
            max_connections: MAX_CONNECTIONS,
            max_proxy_connections: MAX_CONNECTIONS,
            trusted_proxies: self.trusted_proxies.clone(),
            ..server::Options::new(&self.metrics)
        }
    }
}

fn doors(settings: &Settings) -> http::Doors {
    http::Doors {
        origins: settings.allowed_origins.clone(),
        hosts: settings.allowed_hosts.clone(),
        allow_query_token: settings.allow_query_token,
        allow_resume: settings.limits.resume_seconds > 0,
    }
}

fn neighbours(parts: &Parts) -> Neighbours {
    let patience = parts.settings.limits.directory_patience();
    let (peers, clock) = (parts.peers.clone(), Arc::clone(&parts.clock));
    Neighbours::new(&parts.settings.instance, peers, &parts.storage, clock, patience)
}

fn retention(parts: &Parts) -> Option<Retention> {
    let (recordings, kept_for) = parts.recordings.clone().zip(parts.settings.recording_retention)?;
    Some(Retention::new(recordings, Arc::clone(&parts.clock), kept_for))
}

fn session_ports(parts: &Parts) -> SessionPorts {
    SessionPorts {
        ledger: Arc::clone(&parts.storage.ledger),
        audit: Arc::clone(&parts.storage.audit),
        recordings: parts.recordings.clone(),
        clock: Arc::clone(&parts.clock),
        shutdown: parts.shutdown.clone(),
    }
}

fn session_rules(parts: &Parts) -> SessionRules {
    SessionRules {
        instance: parts.settings.instance.clone(),
        limits: parts.settings.limits.clone(),
        recording: parts.settings.recording.clone(),
        drain: parts.shutdown.token(),
    }
}
