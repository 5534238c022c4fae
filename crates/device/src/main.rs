//! `iot-device`: the agent on a device.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use common::chassis::config::{self, ConfigError};
use common::chassis::{problem::error_chain, shutdown::Shutdown, telemetry};
use device::agent::{AgentError, Device};
use device::config::{Command, Config, EnrollArgs, RenewArgs, UpArgs};
use device::status::Status;

/// Sessions end with the agent: their clients are told by the end of their connections.
const DRAIN: Duration = Duration::from_secs(2);

/// One thread is enough for a device.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config: Config = match config::parse() {
        Ok(config) => config,
        Err(code) => return code,
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<ConfigError>() {
            Ok(error) => error.report(),
            Err(error) => {
                tracing::error!(error = error_chain(error.as_ref()), "The agent could not do it");
                ExitCode::FAILURE
            }
        },
    }
}

async fn run(config: Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    telemetry::init(config.log.log_format, &config.log.log_filter)?;
    match &config.command {
        Command::Enroll(arguments) => enroll(&config, arguments).await,
        Command::Renew(arguments) => renew(&config, arguments).await,
        Command::Up(arguments) => Ok(up(&config, arguments).await?),
        Command::Status => Ok(writeln!(std::io::stdout(), "{}", Status::read(&config.state_dir)?)?),
    }
}

async fn enroll(config: &Config, arguments: &EnrollArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let device = Device::prepare(config.state_dir.clone(), Some(arguments.id.clone())).await?;
    if device.is_enrolled() {
        tracing::info!("The device has enrolled before; nothing was done");
        return Ok(());
    }
    device.enroll(&arguments.settings()?).await?;
    Ok(())
}

async fn renew(config: &Config, arguments: &RenewArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let enrolled = Device::prepare(config.state_dir.clone(), None).await?.enrolled()?;
    enrolled.renew(arguments.url.clone()).await?;
    Ok(())
}

async fn up(config: &Config, arguments: &UpArgs) -> Result<(), AgentError> {
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let drain = shutdown.token();
    let enrolled = Device::prepare(config.state_dir.clone(), None).await?.enrolled()?;
    if let Some(url) = &arguments.url {
        shutdown.spawn(enrolled.keep_fresh(url.clone(), drain.clone()));
    }
    let connected = tokio::select! {
        connected = enrolled.connect(arguments.hub_endpoint.as_ref()) => connected?,
        () = drain.cancelled() => return Ok(()),
    };
    connected.serve(arguments.terminal(), &shutdown)?;
    tracing::info!("In the network; the terminal is served");
    drain.cancelled().await;
    shutdown.finish(DRAIN).await;
    Ok(())
}
