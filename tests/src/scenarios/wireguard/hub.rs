use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::domain::{VpnNetwork, WireguardKey};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use wireguard::{Hub as _, SocketHub};

use super::namespace::{Namespace, run};
use super::{METRICS_PORT, TERMINAL_PORT, TERMINAL_UID};
use crate::failure::{Failure, ensure};
use crate::real::bridge::built;
use crate::stage::Stage;

/// The hub's interface. A daemon's socket has its name, and all namespaces share the folder of sockets.
pub(in crate::scenarios) const INTERFACE: &str = "iotb-hub0";

/// How long the hub process may take to come up, or to end.
const PATIENCE: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(20);

/// The hub process, and what happens to it.
pub(in crate::scenarios) struct HubProcess {
    program: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    network: VpnNetwork,
    interface: &'static str,
    process: Option<Child>,
}

impl HubProcess {
    pub(in crate::scenarios) fn new(stage: &Stage, folder: &Path, network: VpnNetwork) -> Result<Self, Failure> {
        let log = stage.log("hub")?;
        std::fs::write(&log, "")?;
        Ok(Self {
            program: built("iot-bridge-api")?,
            folder: folder.to_owned(),
            log,
            network,
            interface: INTERFACE,
            process: None,
        })
    }

    /// Gives it an interface of its own, where another hub may run on this machine.
    pub(in crate::scenarios) fn with_interface(self, interface: &'static str) -> Self {
        Self { interface, ..self }
    }

    pub(in crate::scenarios) fn client(&self) -> SocketHub {
        SocketHub::new(self.socket(), self.network)
    }

    pub(in crate::scenarios) async fn key(&self) -> Result<WireguardKey, Failure> {
        Ok(self.client().identity().await?)
    }

    /// Starts it and waits until it answers.
    pub(in crate::scenarios) async fn start(&mut self, namespace: &Namespace) -> Result<(), Failure> {
        let mut process = self.command(namespace)?.spawn()?;
        let client = self.client();
        let answers = async {
            while client.health().await.is_err() {
                sleep(LOOK).await;
            }
        };
        let ended = tokio::select! {
            answered = timeout(PATIENCE, answers) => match answered {
                Ok(()) => None,
                Err(_) => Some("does not answer".to_owned()),
            },
            status = process.wait() => Some(format!("ended: {}", status?)),
        };
        self.process = Some(process);
        match ended {
            None => Ok(()),
            Some(words) => Err(Failure::new(format_args!(
                "the hub process {words}; see {}",
                self.log.display()
            ))),
        }
    }

    /// Asks it to end, and waits until it has.
    pub(in crate::scenarios) async fn end(&mut self) -> Result<(), Failure> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        signal(&process, Signal::TERM)?;
        let status = timeout(PATIENCE, process.wait()).await??;
        ensure(status.success(), format_args!("the hub process ended with {status}"))
    }

    /// Stops it from doing anything.
    pub(in crate::scenarios) fn pause(&self) -> Result<(), Failure> {
        self.process
            .as_ref()
            .map_or(Ok(()), |process| signal(process, Signal::STOP))
    }

    /// Lets it go on.
    pub(in crate::scenarios) fn resume(&self) -> Result<(), Failure> {
        self.process
            .as_ref()
            .map_or(Ok(()), |process| signal(process, Signal::CONT))
    }

    /// Starts it where `nft` says no to everything; it has to end by itself.
    pub(in crate::scenarios) async fn fails_without_nft(&self, namespace: &Namespace) -> Result<(), Failure> {
        let programs = self.folder.join("no-nft");
        std::fs::create_dir_all(&programs)?;
        std::os::unix::fs::symlink("/bin/false", programs.join("nft"))?;
        let mut command = self.command(namespace)?;
        let mut process = command
            .env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display()))
            .spawn()?;
        let status = timeout(PATIENCE, process.wait()).await??;
        ensure(!status.success(), "the hub process works without its rules")
    }

    /// Kills it; nobody cleans up behind it.
    pub(in crate::scenarios) async fn kill(&mut self) -> Result<(), Failure> {
        let mut process = self
            .process
            .take()
            .ok_or_else(|| Failure::new("there is no hub process"))?;
        Ok(process.kill().await?)
    }

    /// Kills the daemon that it looks after.
    pub(in crate::scenarios) async fn kill_daemon(&self) -> Result<(), Failure> {
        let daemon = run("pgrep", &["-x", "-f", &format!("wireguard-go {}", self.interface)]).await?;
        let daemon = daemon.trim().parse().ok().and_then(Pid::from_raw);
        let daemon = daemon.ok_or_else(|| Failure::new("there is not exactly one daemon"))?;
        Ok(kill_process(daemon, Signal::KILL)?)
    }

    pub(in crate::scenarios) fn socket(&self) -> PathBuf {
        self.folder.join("hub.sock")
    }

    fn command(&self, namespace: &Namespace) -> Result<Command, Failure> {
        let log = std::fs::File::options().append(true).open(&self.log)?;
        let mut command = namespace.command(&self.program);
        let settings = [
            ("WG_BACKEND", "userspace".to_owned()),
            ("WG_INTERFACE", self.interface.to_owned()),
            ("WG_SUBNET", self.network.prefix().to_string()),
            (
                "WG_SUBNET6",
                self.network.ula().map_or_else(String::new, |ula| ula.to_string()),
            ),
            ("WG_PRIVATE_KEY_FILE", self.folder.join("hub.key").display().to_string()),
            ("WG_HUB_SOCKET", self.socket().display().to_string()),
            ("WG_HUB_CALLER_UIDS", "0".to_owned()),
            ("WG_TERMINAL_UID", TERMINAL_UID.to_string()),
            ("TTYD_PORT", TERMINAL_PORT.to_string()),
            ("WG_OPEN_PORTS", METRICS_PORT.to_string()),
        ];
        let settings = settings.into_iter().filter(|(_, value)| !value.is_empty());
        command.arg("hub").envs(settings);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

pub(in crate::scenarios) fn signal(process: &Child, signal: Signal) -> Result<(), Failure> {
    let id = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let id = id.ok_or_else(|| Failure::new("the hub process has ended"))?;
    Ok(kill_process(id, signal)?)
}
