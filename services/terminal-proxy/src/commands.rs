//! What a person does at the command line of the machine.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use common::chassis::config::ConfigError;
use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::token::{JwksCache, TokenVerifier};
use common::domain::{Clock, SystemClock};
use common::store::{Migrations, OpenError, Store, StoreOptions};
use secrecy::ExposeSecret as _;
use terminal_proxy::config::{Command, Config};

/// Runs a command that is not `serve`.
pub(crate) async fn run(command: Command, config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Serve => {}
        Command::CheckConfig => {
            config.settings()?;
            trust(config, Arc::new(SystemClock))?;
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

/// Builds what believes access tokens; nothing is fetched yet.
pub(crate) fn trust(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<JwksCache>, Arc<TokenVerifier>), Box<dyn Error>> {
    let http = http_client::build(&HttpClientOptions::default())?;
    let keys = Arc::new(JwksCache::new(config.jwks()?, http, Arc::clone(&clock)));
    let verifier = TokenVerifier::new(config.token_rules()?, Arc::clone(&keys) as _, clock)
        .map_err(|error| ConfigError::new(format!("The `OIDC_…` and `ROLE_…` settings are unsafe: {error}.")))?;
    Ok((keys, Arc::new(verifier)))
}

/// Opens the database; what a person has to change first is said in one sentence.
pub(crate) async fn open_store(config: &Config, migrations: Migrations) -> Result<Store, Box<dyn Error>> {
    let mut options = StoreOptions::new(config.instance.as_str());
    options.migrations = migrations;
    let url = config.database.url()?;
    let store = Store::open(url.expose_secret(), options, Arc::new(SystemClock)).await;
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
