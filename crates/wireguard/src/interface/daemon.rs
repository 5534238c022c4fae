use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::InterfaceName;
use crate::control::daemon_socket;

/// How long a daemon may take until it answers on its socket.
const START: Duration = Duration::from_secs(5);

/// How often to look whether it does.
const LOOK: Duration = Duration::from_millis(10);

/// A WireGuard daemon in the foreground: it ends with this process, and with its interface.
#[derive(Debug)]
pub(super) struct Daemon(Child);

impl Daemon {
    /// Starts a daemon, which makes the interface, and waits until it answers.
    pub(super) async fn start(program: &PathBuf, interface: &InterfaceName) -> io::Result<Self> {
        let socket = daemon_socket(interface.as_str());
        match tokio::fs::remove_file(&socket).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut command = Command::new(program);
        command
            .arg(interface.as_str())
            .env("WG_PROCESS_FOREGROUND", "1")
            .env("LOG_LEVEL", "error");
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut daemon = Self(command.spawn()?);
        let answers = async {
            // The folder may have been made by the daemon, and then the path is another one.
            while UnixStream::connect(daemon_socket(interface.as_str())).await.is_err() {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            result = timeout(START, answers) => result?,
            status = daemon.ended() => return Err(io::Error::other(format!("it ended at once, with {}", status?))),
        }
        Ok(daemon)
    }

    /// Whether it still runs.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Waits until it ends.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Ends it, whatever it is doing.
    pub(super) async fn kill(mut self) -> io::Result<()> {
        self.0.kill().await
    }
}
