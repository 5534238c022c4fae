//! What an operator does at the command line of the machine.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use common::chassis::config::ConfigError;
use common::domain::{Actor, Clock, EnrollmentToken, SystemClock, rfc3339};
use common::store::{Migrations, OpenError, Store, StoreOptions};
use iot_bridge_api::adapters::{keycloak, thingsboard};
use iot_bridge_api::app::tokens::{TokenOrder, Tokens};
use iot_bridge_api::config::{Command, Config, NeighbourSettings, ProvisionCommand, TokenCommand};
use secrecy::ExposeSecret as _;

use crate::hub;

/// Runs a command that is not `serve`.
pub(crate) async fn run(command: &Command, config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Serve => {}
        Command::Hub => return hub::serve(config).await,
        Command::CheckConfig => {
            config.check()?;
            config.listeners.tls.load(None).await?;
            say("The settings are good.")?;
        }
        Command::Migrate => {
            open_store(config, Migrations::Run, Arc::new(SystemClock))
                .await?
                .close()
                .await;
            say("The database's tables are up to date.")?;
        }
        Command::Fsck => return fsck(config).await,
        Command::Token(command) => token(command, config).await?,
        Command::Provision(command) => provision(command, config).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the database; what a person has to change first is said in one sentence.
pub(crate) async fn open_store(
    config: &Config,
    migrations: Migrations,
    clock: Arc<dyn Clock>,
) -> Result<Store, Box<dyn Error>> {
    let mut options = StoreOptions::new(config.instance()?);
    options.migrations = migrations;
    options.address_quarantine = std::time::Duration::from_hours(config.address_quarantine_hours.into());
    Store::open(config.database.url()?.expose_secret(), options, clock)
        .await
        .map_err(|error| {
            if matches!(error, OpenError::Unavailable { .. }) {
                return error.into();
            }
            ConfigError::new(format!("`DATABASE_URL` cannot be used: {error}.")).into()
        })
}

async fn fsck(config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    let store = open_store(config, Migrations::Refuse, Arc::new(SystemClock)).await?;
    let mut broken = store.check_invariants().await?;
    broken.extend(hub::differences(config, &store).await?);
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

async fn provision(command: &ProvisionCommand, config: &Config) -> Result<(), Box<dyn Error>> {
    match command {
        ProvisionCommand::Thingsboard(arguments) => {
            let (client, options, webhook) = config.neighbours.thingsboard_to_provision()?;
            let order = arguments.order(webhook)?;
            for name in thingsboard::provision::provision(client, options, &order).await? {
                say(&format!("{name} is as it should be."))?;
            }
        }
        ProvisionCommand::Keycloak(arguments) => {
            let order = arguments.order()?;
            for name in keycloak::provision(NeighbourSettings::client()?, &order).await? {
                say(&format!("{name} is as it should be."))?;
            }
        }
        ProvisionCommand::Hawkbit => {
            config.neighbours.hawkbit_to_provision()?.provision().await?;
            say("Devices may fetch their updates with the secret of their target.")?;
        }
    }
    Ok(())
}

async fn token(command: &TokenCommand, config: &Config) -> Result<(), Box<dyn Error>> {
    let clock = Arc::new(SystemClock);
    let pepper = Arc::new(config.tokens.pepper()?);
    let store = open_store(config, Migrations::Refuse, clock.clone()).await?;
    let tokens = Tokens::new(Arc::new(store.clone()), clock, pepper);
    match command {
        TokenCommand::Create(order) => {
            let fresh = tokens.create(TokenOrder::from(order), &Actor::Console).await?;
            tracing::info!(token.id = %fresh.token.id, "Made the token `{}`", fresh.token.id);
            say(fresh.secret.expose_secret())?;
        }
        TokenCommand::List => {
            for token in tokens.list().await? {
                say(&line(&token))?;
            }
        }
        TokenCommand::Revoke { id } => tokens.revoke(*id, &Actor::Console).await?,
    }
    store.close().await;
    Ok(())
}

fn line(token: &EnrollmentToken) -> String {
    let EnrollmentToken {
        id,
        id_pattern,
        group,
        quota,
        used,
        refused,
        expires_at,
        revoked_at,
        ..
    } = token;
    let end = revoked_at.map_or_else(
        || format!("until {}", rfc3339(*expires_at)),
        |at| format!("revoked {}", rfc3339(at)),
    );
    format!(
        "{id}  {}  {group}  {used} of {quota} used, {refused} refused  {end}",
        id_pattern.as_str()
    )
}

fn say(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{line}")
}
