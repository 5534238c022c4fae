//! What strangers send, made up by a machine: one target a parser.
//!
//! A target takes any bytes and holds what the parser makes of them against its promises; a panic is a finding. A new
//! one is a file in `targets/`, a line in [`TARGETS`], and a folder of seeds of its name. `fuzz/run NAME SECONDS` looks
//! for findings; what it finds becomes a seed, and every seed is an ordinary test.

pub mod targets;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A name, which is also that of the folder with the seeds, and what is tried with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("csr", targets::csr::check),
    ("est", targets::est::check),
    ("http_head", targets::http_head::check),
    ("jwks", targets::jwks::check),
    ("jwt", targets::jwt::check),
    ("ws_frames", targets::ws_frames::check),
    ("webhook_json", targets::webhook_json::check),
];

/// Returns what is tried under this name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    let (_, check) = TARGETS.iter().find(|(known, _)| *known == name)?;
    Some(*check)
}

/// Runs a step and asserts that its input costs no more time of the processor than `limit`, whatever else the machine
/// does. What costs more is tried twice more, and the least counts: a virtual machine's thread is billed for time that
/// the host took from it, but an input that is expensive is expensive every time.
pub fn within<T>(limit: Duration, step: impl Fn() -> T) -> T {
    let (mut result, mut least) = timed(&step);
    for _ in 0..2 {
        if least > limit {
            let (next, took) = timed(&step);
            (result, least) = (next, least.min(took));
        }
    }
    assert!(least <= limit, "took {least:?} at the least, and may take {limit:?}");
    result
}

fn timed<T>(step: impl Fn() -> T) -> (T, Duration) {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a thread has run for some time");
    let began = now();
    let result = step();
    (result, now().saturating_sub(began))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    #[test]
    fn time_that_the_machine_lost_once_is_not_held_against_an_input() {
        let is_first = Cell::new(true);

        within(LIMIT, || is_first.take().then(spend));

        assert!(!is_first.get());
    }

    #[test]
    #[should_panic(expected = "may take 20ms")]
    fn an_input_that_is_expensive_every_time_is_a_finding() {
        within(LIMIT, spend);
    }

    /// Works for more than the limit.
    fn spend() {
        let mut took = Duration::ZERO;
        while took <= LIMIT {
            took += timed(|| std::hint::black_box((0..10_000_u64).sum::<u64>())).1;
        }
    }
}
