//! Where a scenario is played: its folders, and the line that each step prints.

use std::fmt::Display;
use std::io::{Write as _, stdout};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::failure::{Failure, ensure};

/// One scenario's place.
#[derive(Debug)]
pub(crate) struct Stage {
    scenario: String,
    cache: PathBuf,
    /// Whether campaigns are played in full size.
    pub(crate) is_full: bool,
}

impl Stage {
    pub(crate) fn new(scenario: &str, cache: PathBuf, is_full: bool) -> Self {
        Self {
            scenario: scenario.to_owned(),
            cache,
            is_full,
        }
    }

    /// Does one step and prints a line when it is done; a failure says which step it was.
    pub(crate) async fn step<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let done = work.await.map_err(|failure| failure.during(name))?;
        say(format_args!(
            "{}: {name} ({} ms)",
            self.scenario,
            began.elapsed().as_millis()
        ));
        Ok(done)
    }

    /// Returns the folder that a server is installed in.
    pub(crate) fn installed(&self, server: &str) -> Result<PathBuf, Failure> {
        let folder = self.cache.join(server);
        ensure(
            folder.is_dir(),
            format_args!("{server} is not installed; `tests/real/run {server}` does that"),
        )?;
        Ok(folder)
    }

    /// Returns the file for what a server says; it stays until the next run.
    pub(crate) fn log(&self, server: &str) -> Result<PathBuf, Failure> {
        let folder = self.cache.join("log");
        std::fs::create_dir_all(&folder)?;
        Ok(folder.join(format!("{server}.log")))
    }
}

/// Returns where a file or folder of this project is.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Finds a port that is free on the loopback interface at the moment, for a server that cannot find one itself.
pub(crate) fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Prints a line. A reader that went away is no reason to stop.
pub(crate) fn say(line: impl Display) {
    let mut out = stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}
