//! The lines that tell a newcomer what is happening.

use std::fmt::Display;
use std::io::{Write as _, stdout};
use std::time::{Duration, Instant};

/// Prints one line a step, with the time since the start and the time the step took.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    last: Instant,
}

impl Progress {
    /// Starts the clock.
    pub(crate) fn start() -> Self {
        let now = Instant::now();
        Self {
            started: now,
            last: now,
        }
    }

    /// Says that a step is done.
    pub(crate) fn done(&mut self, step: &str, detail: impl Display) {
        let now = Instant::now();
        let (total, took) = (now - self.started, now - self.last);
        self.last = now;
        say(format_args!(
            "{:>7.3} s  +{:>5} ms  {step:<12} {detail}",
            total.as_secs_f64(),
            took.as_millis()
        ));
    }

    /// Returns the time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Prints a line. A reader that went away is no reason to stop.
pub(crate) fn say(line: impl Display) {
    let mut out = stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("Nobody reads the progress lines");
    }
}
