use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::failure::Failure;

/// A server of somebody else's; it and all that it started end when this is dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    name: &'static str,
    child: Child,
    group: Option<Pid>,
    log: PathBuf,
}

impl ServerProcess {
    /// How long between two looks at a server that starts.
    const LOOK_INTERVAL: Duration = Duration::from_millis(250);

    /// Starts a server in a process group of its own; what it says goes to the log.
    pub(crate) fn start(name: &'static str, mut command: Command, log: &Path) -> Result<Self, Failure> {
        let output = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::from(error).during(name))?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self {
            name,
            child,
            group,
            log: log.to_owned(),
        })
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> Result<String, Failure> {
        let id = self.child.id();
        let id = id.ok_or_else(|| Failure::new(format_args!("{} has ended", self.name)))?;
        Ok(id.to_string())
    }

    /// Waits until the server is ready, unless it ends before, or the time is over.
    pub(crate) async fn until(&mut self, ready: impl AsyncFn() -> bool, deadline: Duration) -> Result<(), Failure> {
        let mut looks = interval(Self::LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let come_up = async {
            while !ready().await {
                looks.tick().await;
            }
        };
        let ended = tokio::select! {
            waited = timeout(deadline, come_up) => match waited {
                Ok(()) => return Ok(()),
                Err(_) => "did not come up in time".to_owned(),
            },
            status = self.child.wait() => format!("ended: {}", status?),
        };
        Err(Failure::new(format_args!(
            "{} {ended}; see {}",
            self.name,
            self.log.display()
        )))
    }
}

impl ServerProcess {
    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self, deadline: Duration) -> Result<std::process::ExitStatus, Failure> {
        Ok(timeout(deadline, self.child.wait()).await??)
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(mut self, deadline: Duration) -> Result<(), Failure> {
        if let Some(group) = self.group {
            kill_process_group(group, Signal::TERM)?;
        }
        let status = timeout(deadline, self.child.wait()).await??;
        self.group = None;
        let name = self.name;
        crate::failure::ensure(status.success(), format_args!("{name} ended with {status}"))
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result<(), Failure> {
        self.child.kill().await?;
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            kill_process_group(group, Signal::KILL).unwrap_or(()); // gone already is as good
        }
    }
}
