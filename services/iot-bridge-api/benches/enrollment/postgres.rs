//! A PostgreSQL server of our own, as it is installed: every commit reaches the disk.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::cpu::Program;
use crate::process::{free_port, printed};

/// The user that Debian runs it as; it refuses to run as root.
const USER: &str = "postgres";

pub(crate) struct Postgres {
    programs: PathBuf,
    port: u16,
    home: TempDir,
}

impl Postgres {
    /// Starts one, unless it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let programs = versions.map(|version| version.unwrap().path().join("bin")).max()?;
        let (home, port) = (tempfile::tempdir().unwrap(), free_port());
        if is_root() {
            printed(Command::new("chown").arg(USER).arg(home.path()));
        }
        let server = Self { programs, port, home };
        printed(
            server
                .run("initdb")
                .args(["-U", USER, "--auth=trust", "--encoding=UTF8"]),
        );
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''");
        let log = server.home.path().join("log");
        printed(
            server
                .run("pg_ctl")
                .args(["-w", "-o", &options, "-l"])
                .arg(log)
                .arg("start"),
        );
        Some(server)
    }

    /// The first process of the server, whose children serve the connections.
    pub(crate) fn program(&self) -> Program {
        let file = self.home.path().join("data/postmaster.pid");
        let text = std::fs::read_to_string(file).unwrap();
        Program {
            name: "PostgreSQL",
            pid: text.lines().next().unwrap().parse().unwrap(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// One of its programs, on its own folder.
    fn run(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", USER, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/").arg("-D").arg(self.home.path().join("data"));
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        printed(self.run("pg_ctl").args(["-m", "immediate", "stop"]));
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}
