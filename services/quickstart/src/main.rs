//! `cargo run -p quickstart`: the whole system in one process.

use std::process::ExitCode;

use common::chassis::config as chassis_config;
use common::chassis::config::{ConfigError, LogFormat};
use common::chassis::{problem, telemetry};
use quickstart::config::Config;

#[tokio::main]
async fn main() -> ExitCode {
    let config: Config = match chassis_config::parse() {
        Ok(config) => config,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::init(LogFormat::Human, &config.log) {
        return ConfigError::new(format!("The log cannot be written: {error}.")).report();
    }
    match quickstart::run(&config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<ConfigError>() {
            Ok(error) => error.report(),
            Err(error) => {
                tracing::error!(
                    error = problem::error_chain(error.as_ref()),
                    "Quickstart did not get through"
                );
                ExitCode::FAILURE
            }
        },
    }
}
