//! The service that the table is played on: the library in this process, or the built program beside it, with the same
//! settings. The program has no device that it could reach.

use std::any::Any;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::server;
use common::chassis::shutdown::Shutdown;
use common::chassis::token::{JwksCache, TokenVerifier};
use common::domain::{Clock, DeviceRegistry as _, SystemClock};
use common::store::{Store, StoreOptions};
use tempfile::TempDir;
use terminal_proxy::config::Config;
use terminal_proxy::ports::Storage;
use terminal_proxy::{Parts, TerminalProxy};
use tokio::net::TcpListener;

use super::forge::{CLIENT, Forge};
use super::row::Forgery;
use crate::support::network;
use crate::ttyd::{Mood, TestDevice};

/// Where the table is played.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    InProcess,
    Program,
}

pub(super) struct Stage {
    pub(super) forge: Forge,
    pub(super) address: SocketAddr,
    device: Option<Arc<TestDevice>>,
    folder: TempDir,
    /// Ends with the stage.
    _running: Box<dyn Any>,
}

/// The program, until it is killed.
struct Running(Child);

impl Stage {
    pub(super) async fn new(place: Place) -> Self {
        let forge = Forge::light().await;
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        store.ensure_pool(&network("10.8.0.0/24")).await.unwrap();
        for device in ["pump-1", "pump-2"] {
            fakes::fleet::enroll(&store, &SystemClock, device).await;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = settings(&forge, folder.path(), address);
        let (device, running): (_, Box<dyn Any>) = match place {
            Place::InProcess => {
                let device = TestDevice::start().await;
                let running = serve(&settings, store, &device, listener).await;
                (Some(device), Box::new(running))
            }
            Place::Program => {
                store.close().await;
                drop((store, listener)); // the database belongs to one process
                (None, Box::new(start(&settings, folder.path(), address).await))
            }
        };
        Self {
            forge,
            address,
            device,
            folder,
            _running: running,
        }
    }

    pub(super) fn has_device(&self) -> bool {
        self.device.is_some()
    }

    pub(super) fn device_is(&self, mood: &str) {
        let mood = match mood {
            "good" => Mood::Good,
            "refuses" => Mood::Refuses,
            "away" => Mood::Away,
            "closes" => Mood::Closes,
            answer => Mood::Answers(String::leak(answer.to_owned())),
        };
        self.device.as_ref().unwrap().set_mood(mood);
    }

    pub(super) fn forget_messages(&self) {
        self.device.as_ref().unwrap().forget_messages();
    }

    pub(super) fn messages(&self) -> Vec<String> {
        self.device.as_ref().unwrap().look(|seen| seen.messages.clone())
    }

    /// What the program said; the library's log is read by a test of its own.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(super) fn secrets(&self) -> Vec<String> {
        let token = self.forge.token(&Forgery::default());
        // The header and the claims' beginning are the same in every token.
        vec![
            "guess-that-nobody-makes".to_owned(),
            token.split('.').next().unwrap().to_owned(),
        ]
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap_or(()); // gone already is as good
        drop(self.0.wait());
    }
}

async fn open(folder: &Path) -> Store {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Store::open(&database(folder), StoreOptions::new("proxy-1"), clock)
        .await
        .unwrap()
}

fn database(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("bridge.db").display())
}

fn settings(forge: &Forge, folder: &Path, address: SocketAddr) -> Vec<String> {
    [
        ("bind", address.to_string()),
        ("database-url", database(folder)),
        ("instance", "proxy-1".to_owned()),
        ("public-url", "https://fleet.example.com".to_owned()),
        ("oidc-issuer", forge.issuer()),
        ("oidc-jwks-url", forge.keys_url()),
        ("oidc-client-id", CLIENT.to_owned()),
        ("connect-timeout-seconds", "1".to_owned()),
        ("log-filter", "trace".to_owned()),
    ]
    .map(|(name, value)| format!("--{name}={value}"))
    .to_vec()
}

async fn serve(settings: &[String], store: Store, device: &Arc<TestDevice>, listener: TcpListener) -> Shutdown {
    let arguments = ["terminal-proxy"]
        .into_iter()
        .chain(settings.iter().map(String::as_str));
    let config = Config::try_parse_from(arguments).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let http = http_client::build(&HttpClientOptions::default()).unwrap();
    let keys = Arc::new(JwksCache::new(config.jwks().unwrap(), http, Arc::clone(&clock)));
    let verifier = TokenVerifier::new(config.token_rules().unwrap(), keys, Arc::clone(&clock)).unwrap();
    let shutdown = Shutdown::new();
    let proxy = TerminalProxy::new(Parts {
        storage: Storage::from(store),
        verifier: Arc::new(verifier),
        people: None,
        dialer: Arc::clone(device) as _,
        recordings: None,
        peers: None,
        clock,
        shutdown: shutdown.clone(),
        settings: config.settings().unwrap(),
    });
    proxy.start().await.unwrap();
    server::serve(listener, proxy.router(), proxy.server_options(), &shutdown);
    shutdown
}

async fn start(settings: &[String], folder: &Path, address: SocketAddr) -> Running {
    let log = File::create(folder.join("log")).unwrap();
    let mut command = Command::new(program());
    command.env_clear().args(settings).stdin(Stdio::null());
    let running = Running(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let up = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            looks.tick().await;
        }
    };
    let up = tokio::time::timeout(Duration::from_secs(30), up).await;
    assert!(up.is_ok(), "{}", fs::read_to_string(folder.join("log")).unwrap());
    running
}

/// The program of this build, unless another one is to be tried.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by the gate which program it is about"
)]
fn program() -> String {
    std::env::var("TERMINAL_PROXY_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_terminal-proxy").to_owned())
}
