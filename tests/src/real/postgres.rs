//! A PostgreSQL of our own, with its ordinary durability.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::process::ServerProcess;
use super::step_ca::printed;
use crate::failure::{Failure, ensure};
use crate::stage::{Stage, free_port};

/// Runs until it is dropped. It refuses to run as root, so it runs as the user that its package made.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: PathBuf,
    port: u16,
    // Before the folder, so that it ends before its files go.
    _process: ServerProcess,
    _home: TempDir,
}

impl Postgres {
    pub(crate) async fn start(stage: &Stage) -> Result<Self, Failure> {
        let (programs, port, home) = (programs()?, free_port()?, tempfile::tempdir()?);
        let data = home.path().join("data");
        let mut chown = Command::new("chown");
        chown.arg("postgres").arg(home.path());
        printed(chown).await?;
        let mut initdb = as_its_user(&programs.join("initdb"));
        initdb
            .args(["--auth=trust", "--encoding=UTF8", "-U", "postgres", "-D"])
            .arg(&data);
        printed(initdb).await?;
        let mut command = as_its_user(&programs.join("postgres"));
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
        ] {
            command.args(["-c", setting]);
        }
        let mut process = ServerProcess::start("PostgreSQL", command, &stage.log("postgres")?)?;
        let ready = async || {
            let mut question = Command::new(programs.join("pg_isready"));
            question.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
            question.status().await.is_ok_and(|status| status.success())
        };
        process.until(ready, Duration::from_secs(30)).await?;
        Ok(Self {
            programs,
            port,
            _process: process,
            _home: home,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Inserts one row a transaction at a rate, and returns how long each took from when it was due, sorted.
    pub(crate) async fn bare_inserts(&self, rate: u32, seconds: u32) -> Result<Vec<Duration>, Failure> {
        let folder = tempfile::tempdir()?;
        let script = folder.path().join("insert.sql");
        std::fs::write(
            &script,
            "INSERT INTO bare (digest, at) VALUES (sha256(random()::text::bytea), 1);\n",
        )?;
        self.ask("CREATE TABLE IF NOT EXISTS bare (id bigserial PRIMARY KEY, digest bytea NOT NULL, at bigint)")
            .await?;
        let mut bench = Command::new(self.programs.join("pgbench"));
        bench.args(["-n", "-h", "127.0.0.1", "-U", "postgres", "-p", &self.port.to_string()]);
        bench.args([
            "-c",
            "16",
            "-T",
            &seconds.to_string(),
            "-R",
            &rate.to_string(),
            "-l",
            "-f",
        ]);
        bench.arg(&script).arg("postgres").current_dir(folder.path());
        printed(bench).await?;
        let mut took = Vec::new();
        for entry in std::fs::read_dir(folder.path())? {
            let path = entry?.path();
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("pgbench_log"))
            {
                took.extend(latencies(&std::fs::read_to_string(path)?));
            }
        }
        took.sort();
        Ok(took)
    }

    /// Executes a statement, and returns what it says.
    pub(crate) async fn ask(&self, statement: &str) -> Result<String, Failure> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args([
            "-q",
            "-A",
            "-t",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &self.port.to_string(),
        ]);
        psql.args(["-c", statement, "postgres"]);
        Ok(printed(psql).await?.trim().to_owned())
    }
}

/// The third column of pgbench's log: microseconds, with a rate from when the transaction was due.
fn latencies(log: &str) -> Vec<Duration> {
    let third = |line: &str| line.split_whitespace().nth(2)?.parse().ok().map(Duration::from_micros);
    log.lines().filter_map(third).collect()
}

fn as_its_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    command
}

/// The newest version that Debian's package has installed.
fn programs() -> Result<PathBuf, Failure> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    found.retain(|programs| programs.join("initdb").exists());
    found.sort();
    ensure(!found.is_empty(), "PostgreSQL is not installed")?;
    Ok(found.remove(found.len() - 1))
}
