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

/// Runs a step and asserts that it takes no more time of the processor than `limit`, whatever else the machine does.
pub fn within<T>(limit: Duration, step: impl FnOnce() -> T) -> T {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a thread has run for some time");
    let began = now();
    let result = step();
    let took = now().saturating_sub(began);
    assert!(took <= limit, "took {took:?}, and may take {limit:?}");
    result
}
