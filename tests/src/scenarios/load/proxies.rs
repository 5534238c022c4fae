//! The built `terminal-proxy`, once or more often, over one PostgreSQL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{AuditTrail as _, Clock, DeviceRegistry as _, SessionLedger as _, SystemClock, VpnNetwork};
use common::store::{Store, StoreOptions};
use fakes::issuer::FakeIssuer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{interval, timeout};

use super::device::{Device, NETWORK, PORT};
use crate::failure::{Failure, ensure};
use crate::real::postgres::Postgres;
use crate::real::process::ServerProcess;
use crate::stage::{Stage, free_port};

/// More than any campaign opens.
const MANY: &str = "100000";

const START: Duration = Duration::from_secs(20);

/// A drain ends sooner.
const STOP: Duration = Duration::from_secs(30);

/// What is there before the first process of the proxy.
pub(super) struct Ground {
    log: std::path::PathBuf,
    pub(super) store: Store,
    issuer: FakeIssuer,
    postgres: Postgres,
    _device: Device,
}

/// A process of the proxy.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    name: String,
    process: ServerProcess,
}

impl Ground {
    pub(super) async fn prepare(stage: &Stage) -> Result<Self, Failure> {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )?;
        let postgres = Postgres::start(stage).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open(&postgres.url(), StoreOptions::new("load"), Arc::clone(&clock)).await?;
        store.ensure_pool(&VpnNetwork::new(NETWORK.parse()?, None)?).await?;
        fakes::fleet::enroll(&store, clock.as_ref(), "pump-1").await;
        Ok(Self {
            log: stage.log("terminal-proxy")?,
            store,
            issuer: FakeIssuer::start().await,
            postgres,
            _device: Device::start().await?,
        })
    }

    pub(super) fn token(&self) -> String {
        self.issuer.token_for("operator")
    }

    pub(super) async fn proxy(&self, name: &str) -> Result<Proxy, Failure> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        self.proxy_at(name, address).await
    }

    async fn proxy_at(&self, name: &str, address: SocketAddr) -> Result<Proxy, Failure> {
        let mut command = Command::new(std::env::current_exe()?.with_file_name("terminal-proxy"));
        command
            .env("DATABASE_URL", self.postgres.url())
            .env("INSTANCE", name)
            .env("BIND", address.to_string())
            // People come to all of them under one name, which here is any.
            .env("ALLOWED_HOSTS", "*")
            .env("PEER_URL", format!("http://{address}"))
            .env("OIDC_ISSUER", self.issuer.url())
            .env("OIDC_CLIENT_ID", FakeIssuer::CLIENT_ID)
            .env("WG_SUBNET", NETWORK)
            .env("TTYD_PORT", PORT.to_string())
            .env("LOG_FILTER", "warn")
            .envs(["MAX_SESSIONS", "MAX_SESSIONS_PER_USER", "MAX_SESSIONS_PER_DEVICE"].map(|limit| (limit, MANY)));
        let log = self.log.with_file_name(format!("{name}.log"));
        let mut process = ServerProcess::start("terminal-proxy", command, &log)?;
        process
            .until(async || TcpStream::connect(address).await.is_ok(), START)
            .await?;
        Ok(Proxy {
            address,
            name: name.to_owned(),
            process,
        })
    }

    /// Stops a process as an operator does, waits until it is gone, and starts it again where it was.
    pub(super) async fn restart(&self, proxy: Proxy) -> Result<Proxy, Failure> {
        let Proxy { address, name, process } = proxy;
        process.stop(STOP).await?;
        self.proxy_at(&name, address).await
    }

    /// Waits until no session is open on record, and says why each ended, with how many.
    pub(super) async fn all_records_are_closed(&self) -> Result<(), Failure> {
        let closed = async {
            let mut looks = interval(Duration::from_millis(200));
            loop {
                looks.tick().await;
                if self.store.sessions(None, true).await?.is_empty() {
                    return Ok::<_, Failure>(());
                }
            }
        };
        timeout(STOP, closed).await??;
        let broken = self.store.verify_audit().await?;
        ensure(broken.is_empty(), format_args!("the audit chain: {broken:?}"))
    }
}

impl Proxy {
    /// Resident memory, in MiB.
    pub(super) fn resident_mib(&self) -> Result<u64, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: u64 = kib.unwrap_or_default().trim().parse()?;
        Ok(kib / 1024)
    }
}
