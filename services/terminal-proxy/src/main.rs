//! The process of the proxy: settings, log, composition, listener. The only file that sees all of them.

mod allocator;
mod commands;
mod open_files;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::config::{self as chassis_config, ConfigError, listen};
use common::chassis::{problem::error_chain, server, shutdown::Shutdown, telemetry};
use common::domain::{Clock, SystemClock};
use common::store::{Migrations, Store};
use terminal_proxy::adapters::SocketNetwork;
use terminal_proxy::config::{Command, Config};
use terminal_proxy::ports::Storage;
use terminal_proxy::{Parts, TerminalProxy};

/// What running sessions and requests get to end.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = match chassis_config::parse() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::init(config.log.log_format, &config.log.log_filter) {
        return ConfigError::new(format!("The log cannot be written: {error}.")).report();
    }
    let result = match config.command {
        None | Some(Command::Serve) => serve(config).await,
        Some(command) => commands::run(command, &config).await,
    };
    result.unwrap_or_else(|error| match error.downcast::<ConfigError>() {
        Ok(error) => error.report(),
        Err(error) => {
            tracing::error!(error = error_chain(error.as_ref()), "Cannot go on");
            ExitCode::FAILURE
        }
    })
}

async fn serve(config: Config) -> Result<ExitCode, Box<dyn Error>> {
    open_files::allow_as_many_as_possible();
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let (proxy, store) = compose(&config, &shutdown).await?;
    proxy.start().await?;
    let mut options = proxy.server_options();
    options.tls = config.tls.load(None).await?;
    server::serve(listen("BIND", config.bind).await?, proxy.router(), options, &shutdown);
    tracing::info!(address = %config.bind, "terminal-proxy serves on {}", config.bind);
    shutdown.token().cancelled().await;
    shutdown.finish(DRAIN_DEADLINE).await;
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn compose(config: &Config, shutdown: &Shutdown) -> Result<(TerminalProxy, Store), Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings = config.settings()?;
    let store = commands::open_store(config, Migrations::Refuse).await?;
    let proxy = TerminalProxy::new(Parts {
        storage: Storage::from(store.clone()),
        verifier: commands::verifier(config, clock.clone(), shutdown)?,
        people: commands::people(config)?,
        dialer: Arc::new(SocketNetwork),
        peers: Some(commands::peers(config)?),
        recordings: config.recording.open()?,
        clock,
        shutdown: shutdown.clone(),
        settings,
    });
    Ok((proxy, store))
}
