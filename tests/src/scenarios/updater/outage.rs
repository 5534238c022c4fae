//! A program's wall clock, moved from outside by libfaketime; how long it waits for something stays as it is.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::failure::Failure;

/// Where Debian's package puts it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// How far a program's clock is ahead, in a file that it reads with every look at the clock.
#[derive(Debug)]
pub(super) struct MovableClock {
    file: PathBuf,
    ahead_seconds: AtomicU64,
}

impl MovableClock {
    /// Begins with the time that it is.
    pub(super) fn new(file: PathBuf) -> Result<Self, Failure> {
        let clock = Self {
            file,
            ahead_seconds: AtomicU64::new(0),
        };
        clock.advance(Duration::ZERO)?;
        Ok(clock)
    }

    /// The environment of a program that lives by this clock.
    pub(super) fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", LIBRARY.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }

    /// How far it is ahead by now.
    pub(super) fn ahead(&self) -> Duration {
        Duration::from_secs(self.ahead_seconds.load(Ordering::Relaxed))
    }

    /// Moves it forward.
    pub(super) fn advance(&self, by: Duration) -> Result<(), Failure> {
        let ahead = self.ahead_seconds.fetch_add(by.as_secs(), Ordering::Relaxed) + by.as_secs();
        // Renamed into place: the program never reads half of it.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("+{ahead}\n"))?;
        std::fs::rename(&new, &self.file)?;
        Ok(())
    }
}
