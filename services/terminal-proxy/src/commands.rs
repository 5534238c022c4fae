//! What a person does at the command line of the machine.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use common::chassis::config::ConfigError;
use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::shutdown::Shutdown;
use common::chassis::token::{JwksCache, TokenVerifier, Userinfo};
use common::domain::{Clock, SystemClock};
use common::store::{Migrations, OpenError, Store, StoreOptions};
use secrecy::ExposeSecret as _;
use terminal_proxy::config::{Command, Config};
use terminal_proxy::{Peers, check_recordings};

/// Runs a command that is not `serve`.
pub(crate) async fn run(command: Command, config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Serve => {}
        Command::CheckConfig => {
            config.settings()?;
            config.database.url()?;
            config.tls.load(None).await?;
            trust(config, Arc::new(SystemClock))?;
            peers(config)?;
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
fn trust(config: &Config, clock: Arc<dyn Clock>) -> Result<(Arc<JwksCache>, Arc<TokenVerifier>), Box<dyn Error>> {
    let http = http_client::build(&HttpClientOptions::default())?;
    let keys = Arc::new(JwksCache::new(config.jwks()?, http, Arc::clone(&clock)));
    let verifier = TokenVerifier::new(config.token_rules()?, Arc::clone(&keys) as _, clock)
        .map_err(|error| ConfigError::new(format!("The `OIDC_…` and `ROLE_…` settings are unsafe: {error}.")))?;
    Ok((keys, Arc::new(verifier)))
}

/// The same, with keys that stay fresh as long as the process runs.
pub(crate) fn verifier(
    config: &Config,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Result<Arc<TokenVerifier>, Box<dyn Error>> {
    let (keys, verifier) = trust(config, clock)?;
    drop(shutdown.spawn(keys.refresh_task(shutdown.token())));
    Ok(verifier)
}

/// Builds what tells whether people still are who they were; nothing is asked yet.
pub(crate) fn people(config: &Config) -> Result<Option<Arc<Userinfo>>, Box<dyn Error>> {
    let Some((location, roles)) = config.userinfo()? else {
        return Ok(None);
    };
    let http = http_client::build(&HttpClientOptions::default())?;
    Ok(Some(Arc::new(Userinfo::new(location, roles, http))))
}

/// Builds what finds the other processes; nobody is asked yet.
pub(crate) fn peers(config: &Config) -> Result<Peers, Box<dyn Error>> {
    let (url, trust) = config.peers.parts()?;
    let http = http_client::build(&HttpClientOptions {
        trust,
        ..HttpClientOptions::default()
    })
    .map_err(|_unusable| ConfigError::new("`PEER_CA_FILE` holds no certificates in PEM."))?;
    Ok(Peers { url, http })
}

/// Opens the database; what a person has to change first is said in one sentence.
pub(crate) async fn open_store(config: &Config, migrations: Migrations) -> Result<Store, Box<dyn Error>> {
    let mut options = StoreOptions::new(config.instance()?.as_str());
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
    let mut broken = store.check_invariants().await?;
    if let Some(shelf) = config.recording.open()? {
        broken.extend(check_recordings(shelf.as_ref(), &store).await?);
    }
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
