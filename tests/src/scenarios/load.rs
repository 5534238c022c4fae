//! Many people at once: campaigns that are played small in the gate and in full size with `--full`.

mod client;
mod device;
mod many_sessions;
mod proxies;
mod rolling_restart;
mod stalled_clients;
mod two_processes;

use std::time::Duration;

pub(crate) use self::many_sessions::play as many_sessions;
pub(crate) use self::rolling_restart::play as rolling_restart;
pub(crate) use self::stalled_clients::play as stalled_clients;

/// The duration that so many of a hundred were not longer than.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}
