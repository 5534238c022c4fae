//! What a person does at the command line of the machine.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use common::chassis::config::ConfigError;
use common::domain::SystemClock;
use common::store::{Migrations, OpenError, Store, StoreOptions};
use terminal_proxy::config::{Command, Config};

/// Runs a command that is not `serve`.
pub(crate) async fn run(command: Command, config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Serve => {}
        Command::CheckConfig => {
            config.settings()?;
            config.token_rules()?;
            say("The settings are good.")?;
        }
        Command::Migrate => {
            open_store(config, Migrations::Run).await?.close().await;
            say("The database's tables are up to date.")?;
        }
        Command::Fsck => return fsck(config).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the database; what a person has to change first is said in one sentence.
pub(crate) async fn open_store(config: &Config, migrations: Migrations) -> Result<Store, Box<dyn Error>> {
    let mut options = StoreOptions::new(config.instance.as_str());
    options.migrations = migrations;
    let store = Store::open(&config.database_url, options, Arc::new(SystemClock)).await;
    store.map_err(|error| {
        if matches!(error, OpenError::Unavailable { .. }) {
            return error.into();
        }
        ConfigError::new(format!("`DATABASE_URL` cannot be used: {error}.")).into()
    })
}

async fn fsck(config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    let store = open_store(config, Migrations::Refuse).await?;
    let broken = store.check_invariants().await?;
    store.close().await;
    for sentence in &broken {
        say(sentence)?;
    }
    if broken.is_empty() {
        say("Everything that must hold does.")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn say(sentence: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{sentence}")
}
