//! The newcomer's first minute: everything in one process, as an ordinary user, on loopback.
//!
//! Nothing here is a special case inside a service: both run from their libraries, with embedded parts behind the
//! ports that step-ca, WireGuard and Keycloak stand behind in production, and every step goes through the doors
//! that everyone uses.
#![warn(missing_docs)]

mod check;
pub mod config;
mod data;
mod embedded_ca;
mod fleet;
mod operator;
mod platform;
mod progress;

use std::error::Error;
use std::time::Duration;

use common::chassis::shutdown::Shutdown;
use secrecy::ExposeSecret as _;

use crate::config::Config;
use crate::data::DataFolder;
use crate::fleet::Fleet;
use crate::platform::{Platform, USERNAME};
use crate::progress::{Progress, say};

/// How long open sessions may take to end after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs until Ctrl-C, or with `--check` until the path was walked.
pub async fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let data = DataFolder::open(config.data_dir.as_deref())?;
    let mut progress = Progress::start();
    let platform = Platform::start(config, &data, &shutdown, &mut progress).await?;
    let result = if config.check {
        check::run(config, &platform, &data, &shutdown, &mut progress).await
    } else {
        serve(config, &platform, &data, &shutdown, &mut progress).await
    };
    // The ends of the sessions are still to be recorded: the database goes last.
    shutdown.finish(DRAIN).await;
    platform.store.close().await;
    result
}

async fn serve(
    config: &Config,
    platform: &Platform,
    data: &DataFolder,
    shutdown: &Shutdown,
    progress: &mut Progress,
) -> Result<(), Box<dyn Error>> {
    let operator = platform.log_in().await?;
    let fleet = Fleet {
        platform,
        data,
        operator: &operator,
        shutdown,
    };
    fleet.start(config.devices, progress).await?;
    if let Some(file) = &config.password_file {
        data::write_secret(file, &platform.password)?;
    }
    say(format_args!("\n  web page   {}", platform.proxy));
    say(format_args!(
        "  login      {USERNAME} / {}",
        platform.password.expose_secret()
    ));
    say("\nCtrl-C ends it.");
    shutdown.token().cancelled().await;
    say("\nEnding: sessions are told, devices leave.");
    Ok(())
}
