//! `iot-device`: the agent on a device.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use common::chassis::config::{self, ConfigError};
use common::chassis::{problem::error_chain, telemetry};
use device::agent::Device;
use device::config::{Command, Config, EnrollArgs, RenewArgs};
use device::status::Status;
use device::up::up;

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
        Command::Up(arguments) => up(&config, arguments).await,
        Command::Status => Ok(writeln!(std::io::stdout(), "{}", Status::read(&config.state_dir)?)?),
    }
}

async fn enroll(config: &Config, arguments: &EnrollArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let device = Device::prepare(config.state_dir.clone(), Some(arguments.id.clone())).await?;
    if device.is_enrolled() && !arguments.again {
        tracing::info!("The device has enrolled before; nothing was done: `--again` is for one with a return ticket");
        return Ok(());
    }
    device.enroll_again(&arguments.settings()?).await?;
    Ok(())
}

async fn renew(config: &Config, arguments: &RenewArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let enrolled = Device::prepare(config.state_dir.clone(), None).await?.enrolled()?;
    enrolled.renew(arguments.url.clone()).await?;
    Ok(())
}
