//! The process of the bridge: settings, log, listeners, and how it ends.

mod client_trust;
mod commands;
mod composition;
mod hub;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::config::{self as chassis_config, ConfigError, listen};
use common::chassis::problem::error_chain;
use common::chassis::server::{self, ClientAuthorities, Options};
use common::chassis::shutdown::Shutdown;
use common::chassis::telemetry;
use common::domain::SystemClock;
use iot_bridge_api::Doors;
use iot_bridge_api::config::{Command, Config};

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = match chassis_config::parse() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::init(config.log.log_format, &config.log.log_filter) {
        return ConfigError::new(format!("The log cannot be written: {error}.")).report();
    }
    let result = match &config.command {
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
    config.check()?;
    #[cfg(debug_assertions)]
    config.stop_at.into_iter().for_each(iot_bridge_api::kill_points::choose);
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let services = composition::compose(&config, Arc::new(SystemClock), &shutdown).await?;
    services.start(&shutdown).await?;

    let options = Options::new(&services.metrics);
    let plain = listen("BIND", config.listeners.bind).await?;
    let address = plain.local_addr()?;
    let router = services.router(config.listeners.plain_doors());
    server::serve(plain, router, options.clone(), &shutdown);
    let clients = ClientAuthorities::unknown();
    let tls = config.listeners.tls.load(Some(Arc::new(clients.clone()))).await?;
    if tls.is_some() {
        let trust = client_trust::keep(services.authority.clone(), clients, shutdown.token());
        shutdown.spawn(trust);
        let listener = listen("TLS_BIND", config.listeners.tls_bind).await?;
        let router = services.router(Doors { enroll: true });
        server::serve(listener, router, Options { tls, ..options }, &shutdown);
    }
    tracing::info!(%address, "iot-bridge-api serves on {address}");
    shutdown.token().cancelled().await;
    shutdown
        .finish(Duration::from_secs(config.listeners.drain_seconds.into()))
        .await;
    services.close().await;
    Ok(())
}
