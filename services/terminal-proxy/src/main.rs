//! The process of the proxy: settings, log, composition, listener. The only file that sees all of them.

mod commands;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::config::{self as chassis_config, ConfigError, listen};
use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::server::{self, Tls};
use common::chassis::shutdown::Shutdown;
use common::chassis::token::{JwksCache, JwksSettings, TokenVerifier};
use common::chassis::{problem::error_chain, telemetry};
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
        None | Some(Command::Serve) => serve(config).await.map(|()| ExitCode::SUCCESS),
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

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let (clock, shutdown) = (Arc::new(SystemClock), Shutdown::new());
    shutdown.on_signals()?;
    let (proxy, store) = compose(&config, clock, &shutdown).await?;
    proxy.start().await?;
    let mut options = proxy.server_options();
    if let Some(files) = config.tls.files()? {
        options.tls = Some(Tls::load(files, None).await?);
    }
    server::serve(listen("BIND", config.bind).await?, proxy.router(), options, &shutdown);
    tracing::info!(address = %config.bind, "terminal-proxy serves on {}", config.bind);
    shutdown.token().cancelled().await;
    shutdown.finish(DRAIN_DEADLINE).await;
    store.close().await;
    Ok(())
}

async fn compose(
    config: &Config,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Result<(TerminalProxy, Store), Box<dyn Error>> {
    let (settings, rules) = (config.settings()?, config.token_rules()?);
    let jwks = JwksSettings { location: config.jwks_location()?, max_age: JwksSettings::DEFAULT_MAX_AGE };
    let keys = JwksCache::new(jwks, http_client::build(&HttpClientOptions::default())?, Arc::clone(&clock));
    let keys = Arc::new(keys);
    drop(shutdown.spawn(Arc::clone(&keys).refresh_task(shutdown.token())));
    let verifier = Arc::new(TokenVerifier::new(rules, keys, Arc::clone(&clock))?);
    let store = commands::open_store(config, Migrations::Refuse).await?;
    let (storage, dialer, shutdown) = (Storage::from(store.clone()), Arc::new(SocketNetwork), shutdown.clone());
    Ok((TerminalProxy::new(Parts { storage, verifier, dialer, clock, shutdown, settings }), store))
}
