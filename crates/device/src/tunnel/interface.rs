//! A tunnel on a network interface of the device: the kernel's WireGuard, or a daemon's. It needs root, and the programs
//! `ip` and `wg`; what is typed here is what an administrator would type.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::domain::WireguardKey;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use wireguard::InterfaceName;
use wireguard::quick::Ip6Pair;

/// How long a program may take: they speak to the kernel only.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often to look whether a daemon is ready, and whether there is a handshake.
const LOOK: Duration = Duration::from_millis(200);

/// Who runs the interface, and how it is called.
#[derive(Debug, Clone)]
pub struct InterfaceSettings {
    /// The interface's name.
    pub name: InterfaceName,
    /// The program that runs it, for example `wireguard-go`; the kernel does when there is none.
    pub daemon: Option<PathBuf>,
}

/// Why the interface is not up.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// A program cannot be run: not installed, or no right to.
    #[error("`{program}` cannot be run")]
    Run {
        /// Which one.
        program: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A program said no, or nothing.
    #[error("`{program}` failed: {words}")]
    Failed {
        /// Which one.
        program: String,
        /// What it wrote on its standard error.
        words: String,
    },
    /// The hub does not answer.
    #[error("no WireGuard handshake within the time")]
    NoHandshake,
}

/// What the interface has to be told.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// The file with the device's private key: the key itself stands on no command line.
    pub(super) key_file: PathBuf,
    pub(super) address: Ipv4Addr,
    pub(super) hub_key: WireguardKey,
    pub(super) hub_address: Ipv4Addr,
    pub(super) keepalive_seconds: u16,
    pub(super) mtu: u16,
    pub(super) ip6: Option<Ip6Pair>,
}

/// A tunnel on an interface. The kernel's stays when the agent ends, so that an agent that is replaced costs no
/// connection; a daemon ends with the agent.
#[derive(Debug)]
pub struct InterfaceTunnel {
    settings: InterfaceSettings,
    facts: Facts,
    daemon: Mutex<Option<Child>>,
}

impl InterfaceTunnel {
    pub(super) fn new(settings: InterfaceSettings, facts: Facts) -> Self {
        Self {
            settings,
            facts,
            daemon: Mutex::default(),
        }
    }

    /// Makes the interface, or corrects it: what is right already is left alone, and so is the session.
    pub(super) async fn ensure(&self, hub: SocketAddr) -> Result<(), InterfaceError> {
        match &self.settings.daemon {
            Some(program) => self.ensure_daemon(program).await?,
            None => self.ensure_link().await?,
        }
        let (name, facts) = (self.settings.name.as_str(), &self.facts);
        let (key, endpoint) = (facts.hub_key.to_base64(), hub.to_string());
        let hub4 = format!("{}/32", facts.hub_address);
        let hub6 = facts.ip6.map(|pair| format!("{}/128", pair.hub));
        let allowed = hub6.iter().fold(hub4.clone(), |list, hub6| format!("{list},{hub6}"));
        let keepalive = facts.keepalive_seconds.to_string();
        run(
            "wg",
            [
                OsStr::new("set"),
                name.as_ref(),
                "private-key".as_ref(),
                facts.key_file.as_os_str(),
                "peer".as_ref(),
                key.as_ref(),
                "endpoint".as_ref(),
                endpoint.as_ref(),
                "allowed-ips".as_ref(),
                allowed.as_ref(),
                "persistent-keepalive".as_ref(),
                keepalive.as_ref(),
            ],
        )
        .await?;
        let address = format!("{}/32", facts.address);
        run("ip", ["address", "replace", &address, "dev", name]).await?;
        run("ip", ["link", "set", "dev", name, "mtu", &facts.mtu.to_string(), "up"]).await?;
        // Nothing but the hub lies behind it.
        run("ip", ["route", "replace", &hub4, "dev", name]).await?;
        if let (Some(pair), Some(hub6)) = (facts.ip6, hub6) {
            let address = format!("{}/128", pair.device);
            run("ip", ["-6", "address", "replace", &address, "dev", name]).await?;
            run("ip", ["-6", "route", "replace", &hub6, "dev", name]).await?;
        }
        Ok(())
    }

    /// Returns how long ago the last handshake was; nothing if there was none, or there is no interface.
    pub(super) async fn last_handshake_age(&self, now_unix: i64) -> Option<Duration> {
        let name = self.settings.name.as_str();
        let text = run("wg", ["show", name, "latest-handshakes"]).await.ok()?;
        let at = handshake_of(&text, &self.facts.hub_key)?;
        Some(Duration::from_secs(u64::try_from(now_unix - at).unwrap_or(0)))
    }

    /// Waits for the first handshake.
    pub(super) async fn wait_for_handshake(&self, deadline: Instant) -> Result<(), InterfaceError> {
        while self.last_handshake_age(0).await.is_none() {
            if Instant::now() >= deadline {
                return Err(InterfaceError::NoHandshake);
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        self.facts.address
    }

    async fn ensure_link(&self) -> Result<(), InterfaceError> {
        let name = self.settings.name.as_str();
        let kind = run("ip", ["-details", "link", "show", "dev", name]).await;
        if kind.is_ok_and(|text| text.contains("wireguard")) {
            return Ok(());
        }
        run("ip", ["link", "add", "dev", name, "type", "wireguard"])
            .await
            .map(drop)
    }

    async fn ensure_daemon(&self, program: &Path) -> Result<(), InterfaceError> {
        let mut daemon = self.daemon.lock().await;
        let is_running = daemon
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)));
        let name = self.settings.name.as_str();
        if is_running && run("wg", ["show", name]).await.is_ok() {
            return Ok(());
        }
        if let Some(mut child) = daemon.take() {
            drop(child.kill().await); // it may have ended already
        }
        let mut command = Command::new(program);
        command
            .arg(name)
            .env("WG_PROCESS_FOREGROUND", "1")
            .env("LOG_LEVEL", "error")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let failed = |source| InterfaceError::Run {
            program: program.display().to_string(),
            source,
        };
        *daemon = Some(command.spawn().map_err(failed)?);
        let deadline = Instant::now() + DEADLINE;
        loop {
            match run("wg", ["show", name]).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(LOOK).await,
            }
        }
    }
}

/// Reads `wg show … latest-handshakes`: a line for each peer, its key and Unix seconds, 0 for never.
fn handshake_of(text: &str, hub: &WireguardKey) -> Option<i64> {
    let hub = hub.to_base64();
    let line = text.lines().find_map(|line| line.strip_prefix(hub.as_str()))?;
    line.trim().parse().ok().filter(|at| *at > 0)
}

async fn run(
    program: &'static str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<String, InterfaceError> {
    let failed = |source| InterfaceError::Run {
        program: program.to_owned(),
        source,
    };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DEADLINE, command.output()).await;
    let output = output
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(InterfaceError::Failed {
        program: program.to_owned(),
        words: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use common::domain::WireguardPrivateKey;

    use super::*;

    #[test]
    fn a_handshake_that_never_was_is_none() {
        let hub = WireguardPrivateKey::generate().public_key();
        let other = WireguardPrivateKey::generate().public_key();

        assert_eq!(
            handshake_of(&format!("{other}\t1790000000\n{hub}\t1790000001\n"), &hub),
            Some(1_790_000_001)
        );
        assert_eq!(handshake_of(&format!("{hub}\t0\n"), &hub), None);
        assert_eq!(handshake_of("", &hub), None);
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = run("no-such-program", [""; 0]).await.unwrap_err();
        assert_eq!(error.to_string(), "`no-such-program` cannot be run");
    }
}
