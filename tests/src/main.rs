//! `cargo run -p e2e -- NAME…`: scenarios against the real servers.
//!
//! `tests/real/run NAME…` installs the servers first. A new scenario is one file below `scenarios`, one row in
//! its table, and one file below `tests/real/install`.

mod config;
mod failure;
mod real;
mod scenarios;
mod stage;

use std::process::ExitCode;

use common::chassis::config as chassis_config;
use common::chassis::shutdown::Shutdown;

use crate::config::Config;
use crate::stage::{Stage, say};

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = match chassis_config::parse() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let shutdown = Shutdown::new();
    if shutdown.on_signals().is_err() {
        return ExitCode::FAILURE; // servers would outlive Ctrl-C
    }
    // A scenario that is dropped half way takes its servers with it.
    match shutdown.token().run_until_cancelled(play(&config)).await {
        Some(0) => ExitCode::SUCCESS,
        Some(_) | None => ExitCode::FAILURE,
    }
}

/// Plays one scenario after the other and returns how many failed.
async fn play(config: &Config) -> usize {
    let chosen = config.scenarios();
    let mut failed = 0;
    for (name, scenario) in &chosen {
        let stage = Stage::new(name, config.cache(), config.full);
        if let Err(failure) = scenario(&stage).await {
            failed += 1;
            say(format_args!("{name}: FAILED: {failure}"));
        }
    }
    say(format_args!("{} passed, {failed} failed", chosen.len() - failed));
    failed
}
