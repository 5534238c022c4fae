//! The process behind a terminal: which one, in which environment, and how it ends.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pty_process::{Pty, Size};
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use tokio::process::Child;

use super::message::WindowSize;

/// Where the shell finds programs; the parent's own setting is not handed down.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a process may take to end after SIGHUP before it is killed.
const HANGUP_GRACE: Duration = Duration::from_secs(5);

/// What a terminal runs, and with what environment. Nothing of the parent's environment gets there.
#[derive(Debug, Clone)]
pub struct Shell {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
}

impl Shell {
    /// The login shell of the user who runs this process, as `/etc/passwd` says; `/bin/sh -i` for a user
    /// without one.
    pub fn login() -> Self {
        let account = Account::current();
        match account.shell.clone() {
            Some(shell) => Self::of(account, shell, Vec::new()),
            None => Self::of(account, "/bin/sh".into(), vec!["-i".into()]),
        }
    }

    /// Another program.
    pub fn command(program: impl Into<OsString>, arguments: Vec<OsString>) -> Self {
        Self::of(Account::current(), program.into(), arguments)
    }

    fn of(account: Account, program: OsString, arguments: Vec<OsString>) -> Self {
        let environment = [
            ("HOME", account.home.clone().into_os_string()),
            ("LANG", "C.UTF-8".into()),
            ("LOGNAME", account.name.clone().into()),
            ("PATH", PATH.into()),
            ("SHELL", account.shell.unwrap_or_else(|| "/bin/sh".into())),
            ("TERM", "xterm-256color".into()),
            ("USER", account.name.into()),
        ];
        let environment = environment.map(|(name, value)| (name.into(), value)).to_vec();
        Self {
            program,
            arguments,
            environment,
            directory: account.home,
        }
    }

    /// Sets a variable of the shell's environment.
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The title that ttyd shows: the command line and the name of the machine.
    pub(super) fn title(&self) -> String {
        let line: Vec<_> = [&self.program]
            .into_iter()
            .chain(&self.arguments)
            .map(|word| word.to_string_lossy())
            .collect();
        let system = rustix::system::uname();
        format!("{} ({})", line.join(" "), system.nodename().to_string_lossy())
    }

    /// Starts it on a terminal of its own, as the leader of a new session.
    pub(super) fn start(&self, size: WindowSize, user: Option<&OsStr>) -> io::Result<Process> {
        let (pty, pts) = pty_process::open().map_err(into_io)?;
        pty.resize(size.into()).map_err(into_io)?;
        let mut command = pty_process::Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .kill_on_drop(true);
        if let Some(user) = user {
            command = command.env("TTYD_USER", user);
        }
        let child = command.spawn(pts).map_err(into_io)?;
        Ok(Process { pty, child })
    }
}

impl From<WindowSize> for Size {
    fn from(size: WindowSize) -> Self {
        Self::new(size.rows, size.columns)
    }
}

pub(super) fn into_io(error: pty_process::Error) -> io::Error {
    match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(number) => number.into(),
        other @ (pty_process::Error::TokioAsyncFd(_) | pty_process::Error::Unsplit(..)) => {
            io::Error::other(other.to_string())
        }
    }
}

/// A running shell and its terminal. Dropping it kills the shell.
pub(super) struct Process {
    pub(super) pty: Pty,
    pub(super) child: Child,
}

impl Process {
    /// Hangs up: SIGHUP to the process group, as ttyd does, and waits until the shell is gone. What was
    /// started with `nohup` or `setsid` lives on.
    pub(super) async fn hang_up(self) {
        let Self { pty, mut child } = self;
        drop(pty);
        // No id: it has ended and was waited for; then the number may already be somebody else's.
        let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else {
            return;
        };
        if let Err(error) = kill_process_group(group, Signal::HUP) {
            tracing::debug!(%error, "The shell was gone before it was hung up");
        }
        if tokio::time::timeout(HANGUP_GRACE, child.wait()).await.is_err()
            && let Err(error) = child.kill().await
        {
            tracing::warn!(%error, "A shell that ignores SIGHUP could not be killed");
        }
    }
}

/// What `/etc/passwd` says about the user who runs this process (passwd(5)).
struct Account {
    name: String,
    home: PathBuf,
    shell: Option<OsString>,
}

impl Account {
    fn current() -> Self {
        let uid = geteuid().as_raw().to_string();
        let table = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Self::find(&table, &uid).unwrap_or(Self {
            name: uid,
            home: "/".into(),
            shell: None,
        })
    }

    fn find(table: &str, uid: &str) -> Option<Self> {
        table.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let home = fields.clone().nth(4)?;
            let shell = fields.clone().nth(5)?;
            (fields.nth(1)? == uid).then(|| Self {
                name: name.to_owned(),
                home: if Path::new(home).is_dir() {
                    home.into()
                } else {
                    "/".into()
                },
                shell: is_for_people(shell).then(|| shell.into()),
            })
        })
    }
}

/// Accounts of services have a "shell" that says no.
fn is_for_people(shell: &str) -> bool {
    shell.starts_with('/') && !shell.ends_with("/nologin") && !shell.ends_with("/false")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "root:x:0:0:root:/:/bin/bash\nwww-data:x:33:33::/no/such/place:/usr/sbin/nologin\nshort:x:7\n";

    #[test]
    fn the_login_shell_and_home_come_from_the_user_s_record() {
        let root = Account::find(TABLE, "0").unwrap();

        assert_eq!((root.name.as_str(), root.home.as_path()), ("root", Path::new("/")));
        assert_eq!(root.shell.as_deref(), Some(OsStr::new("/bin/bash")));
    }

    #[test]
    fn a_service_account_gets_no_shell_of_its_own_and_a_home_that_exists() {
        let service = Account::find(TABLE, "33").unwrap();

        assert_eq!(service.shell, None);
        assert_eq!(service.home, Path::new("/"));
    }

    #[test]
    fn an_unknown_user_has_no_record() {
        assert!(Account::find(TABLE, "1000").is_none());
        assert!(Account::find(TABLE, "7").is_none());
    }

    #[test]
    fn the_title_is_the_command_line_and_the_machine() {
        let title = Shell::command("bash", vec!["--norc".into()]).title();

        assert!(title.starts_with("bash --norc ("), "{title}");
    }
}
