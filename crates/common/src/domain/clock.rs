use std::sync::Mutex;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time, UTC.
pub type Timestamp = OffsetDateTime;

/// Where the time comes from: the machine in production, the test's hand in tests.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time, UTC, with millisecond precision.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the machine for the time"
    )]
    fn now(&self) -> Timestamp {
        let now = OffsetDateTime::now_utc();
        now.replace_millisecond(now.millisecond())
            .expect("the millisecond came from a valid time")
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// Starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.0.lock().expect("no test panics while it holds the clock") += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("no test panics while it holds the clock")
    }
}

/// Writes a time as RFC 3339, the only form of time that leaves this system.
pub fn rfc3339(time: Timestamp) -> String {
    time.format(&Rfc3339)
        .expect("every time of this system has a four-digit year")
}
