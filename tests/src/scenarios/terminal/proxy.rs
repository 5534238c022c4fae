//! The built terminal-proxy in the hub's namespace, as the one user whose connections the firewall lets through.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::Command;

use crate::failure::{Failure, ensure};
use crate::real::bridge::built;
use crate::real::process::ServerProcess;
use crate::scenarios::wireguard::TERMINAL_UID;
use crate::scenarios::wireguard::namespace::Namespace;
use crate::stage::Stage;

/// Where it listens inside; nothing else does.
pub(super) const PORT: u16 = 8888;

/// To come up, and to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// What it is told, besides what is the same in every run.
pub(super) struct ProxySettings {
    pub(super) public_url: String,
    pub(super) database_url: String,
    pub(super) issuer: String,
    pub(super) jwks_url: String,
    pub(super) frame_ancestors: String,
    pub(super) subnet: String,
}

pub(super) struct Proxy {
    namespace: Arc<Namespace>,
    settings: ProxySettings,
    folder: TempDir,
    log: PathBuf,
    process: Option<ServerProcess>,
}

impl Proxy {
    pub(super) fn new(stage: &Stage, namespace: &Arc<Namespace>, settings: ProxySettings) -> Result<Self, Failure> {
        // A user who owns nothing of ours reads the program from a folder that everybody may enter.
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::copy(built("terminal-proxy")?, folder.path().join("terminal-proxy"))?;
        let recordings = folder.path().join("recordings");
        fs::create_dir(&recordings)?;
        std::os::unix::fs::chown(&recordings, Some(TERMINAL_UID), Some(TERMINAL_UID))?;
        Ok(Self {
            namespace: Arc::clone(namespace),
            settings,
            folder,
            log: stage.log("terminal-proxy")?,
            process: None,
        })
    }

    /// Starts it and waits until it answers at its public address.
    pub(super) async fn start(&mut self, http: &Client) -> Result<(), Failure> {
        let mut process = ServerProcess::start("terminal-proxy", self.command(), &self.log)?;
        let page = format!("{}/livez", self.settings.public_url);
        let answers = async || {
            let answer = http.get(&page).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        };
        process.until(answers, PATIENCE).await?;
        self.process = Some(process);
        Ok(())
    }

    /// Asks it to end and waits until it has: its sessions are told, its records closed.
    pub(super) async fn end(&mut self) -> Result<(), Failure> {
        let mut process = self.process.take().ok_or_else(|| Failure::new("there is no proxy"))?;
        let id = process.id()?.parse().ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| Failure::new("the proxy has ended"))?;
        kill_process(id, Signal::TERM)?;
        let status = process.ended(PATIENCE).await?;
        ensure(status.success(), format_args!("the proxy ended with {status}"))
    }

    fn command(&self) -> Command {
        let ProxySettings {
            public_url,
            database_url,
            issuer,
            jwks_url,
            frame_ancestors,
            subnet,
        } = &self.settings;
        let user = TERMINAL_UID.to_string();
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.namespace.name(), "setpriv"])
            .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
            .arg(self.folder.path().join("terminal-proxy"))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("BIND", format!("127.0.0.1:{PORT}"))
            .env("ALLOWED_HOSTS", "*")
            .env("OIDC_CLIENT_ID", "terminal-widget")
            .env("RECORDING", "on")
            .env("RECORDING_DIR", self.folder.path().join("recordings"))
            .envs([
                ("PUBLIC_URL", public_url),
                ("DATABASE_URL", database_url),
                ("OIDC_ISSUER", issuer),
                ("OIDC_JWKS_URL", jwks_url),
                ("FRAME_ANCESTORS", frame_ancestors),
                ("WG_SUBNET", subnet),
            ]);
        command
    }
}
