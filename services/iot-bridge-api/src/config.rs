//! Settings: flags, and environment variables of the same name. `--help` is the manual.

mod agents;
mod certificate_authority;
mod hub;
mod issuer;
mod neighbours;
mod network;
mod provision;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use common::chassis::config::{
    ConfigError, DatabaseSettings, LogSettings, ProxySettings, TlsSettings, is_loopback, secret,
};
use common::domain::{DeviceId, GroupName, IdPattern, TokenPurpose};
use secrecy::SecretString;
use uuid::Uuid;

pub use agents::AgentSettings;
pub use certificate_authority::StepCaSettings;
pub use hub::{HubBackend, HubKind, HubSettings};
pub use issuer::IssuerSettings;
pub use neighbours::NeighbourSettings;
pub use network::NetworkSettings;
pub use provision::{KeycloakArguments, ProvisionCommand, ThingsboardArguments};

use crate::app::blocked_keys::BlockedKeys;
use crate::app::token_secret::TokenPepper;
use crate::app::tokens::TokenOrder;
use crate::services::{Doors, Settings};

/// Gives devices their identity and their place in the network, and takes both away.
#[derive(Debug, Parser)]
#[command(name = "iot-bridge-api", version)]
pub struct Config {
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where everything is recorded.
    #[command(flatten)]
    pub database: DatabaseSettings,
    /// The name of this process, unlike any other process's: each one has an audit chain of its own. Unless set,
    /// `bridge-1` with a database file, and `bridge-` with the machine's name otherwise.
    #[arg(long, global = true, env = "INSTANCE")]
    pub instance: Option<String>,
    /// How long a decommissioned device's address is not given out again, in hours.
    #[arg(long, global = true, env = "ADDRESS_QUARANTINE_HOURS", default_value_t = 24)]
    pub address_quarantine_hours: u32,
    /// Where and how to listen.
    #[command(flatten)]
    pub listeners: ListenerSettings,
    /// The key of the enrollment tokens.
    #[command(flatten)]
    pub tokens: TokenSettings,
    /// Keys that no device may have.
    #[command(flatten)]
    pub device_keys: DeviceKeySettings,
    /// Who signs.
    #[command(flatten)]
    pub step_ca: StepCaSettings,
    /// The device network.
    #[command(flatten)]
    pub network: NetworkSettings,
    /// Who tells who an operator is.
    #[command(flatten)]
    pub issuer: IssuerSettings,
    /// The systems beside us.
    #[command(flatten)]
    pub neighbours: NeighbourSettings,
    /// Proxies in front.
    #[command(flatten)]
    pub proxies: ProxySettings,
    /// The log.
    #[command(flatten)]
    pub log: LogSettings,
    /// Where a test cuts the power.
    #[cfg(debug_assertions)]
    #[arg(long, hide = true)]
    pub stop_at: Option<crate::kill_points::KillPoint>,
}

/// What the program can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serve until told to stop (the default).
    Serve,
    /// Own the interface of the device network and its firewall rules, and answer the bridge on a socket. Needs root
    /// with `NET_ADMIN`, and nothing else: no database, no certificate authority.
    Hub,
    /// Check the settings and end.
    CheckConfig,
    /// Bring the database's tables up to date and end.
    Migrate,
    /// Verify what must always hold in the database, and compare it with the hub behind `WG_HUB=unix:…`; exit code 1
    /// with what is broken.
    Fsck,
    /// Make, list and end enrollment tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Give a system beside us what it needs once to work with us; may be repeated.
    #[command(subcommand)]
    Provision(ProvisionCommand),
}

/// What can be done with enrollment tokens.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is the only line on stdout, and is shown this once.
    Create(CreateToken),
    /// List all tokens, newest first.
    List,
    /// End a token.
    Revoke {
        /// The token's id.
        id: Uuid,
    },
}

/// A token to be made.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("who").args(["device", "pattern"]).required(true)))]
pub struct CreateToken {
    /// The device that may enroll.
    #[arg(long)]
    pub device: Option<DeviceId>,
    /// The ids that may enroll, `*` for any run of characters: `pump-*`.
    #[arg(long, value_parser = parse_pattern)]
    pub pattern: Option<IdPattern>,
    /// How many devices of the pattern may enroll.
    #[arg(long, default_value_t = 1, conflicts_with = "device")]
    pub quota: u32,
    /// The group that the devices get.
    #[arg(long, default_value = "default", value_parser = parse_group)]
    pub group: GroupName,
    /// `enroll`, or `return`: a ticket for one known device that was stored longer than its certificate lived. It is good
    /// once, for 168 hours at most, and what the device had before ends with it.
    #[arg(long, default_value = "enroll", value_parser = parse_purpose)]
    pub purpose: TokenPurpose,
    /// How long the token lives, in hours.
    #[arg(long, default_value_t = 168)]
    pub hours: u32,
}

/// Where and how to listen.
#[derive(Debug, Args)]
pub struct ListenerSettings {
    /// Plain HTTP for operators and webhooks; devices may enroll here only when it is loopback.
    #[arg(long, env = "BIND", default_value = "127.0.0.1:8000", global = true)]
    pub bind: SocketAddr,
    /// TLS for devices; used when `TLS_CERT_FILE` and `TLS_KEY_FILE` are set.
    #[arg(long, env = "TLS_BIND", default_value = "0.0.0.0:8443", global = true)]
    pub tls_bind: SocketAddr,
    /// The server certificate of the TLS listener.
    #[command(flatten)]
    pub tls: TlsSettings,
    /// How long running requests get after a signal to stop, in seconds.
    #[arg(long, env = "DRAIN_SECONDS", default_value_t = 20, global = true)]
    pub drain_seconds: u32,
}

impl ListenerSettings {
    /// Returns what the plain listener may serve.
    pub fn plain_doors(&self) -> Doors {
        Doors {
            enroll: is_loopback(self.bind),
        }
    }
}

/// Keys that no device may have.
#[derive(Debug, Args)]
pub struct DeviceKeySettings {
    /// A file with the public keys that somebody else is known to have: one SHA-256 of a `SubjectPublicKeyInfo` (DER) a
    /// line, in hex. A CSR with such a key is refused. It is read at the start.
    #[arg(long, env = "BLOCKED_KEYS_FILE", global = true)]
    pub blocked_keys_file: Option<PathBuf>,
}

impl DeviceKeySettings {
    /// Reads the list.
    pub fn blocked_keys(&self) -> Result<BlockedKeys, ConfigError> {
        let Some(file) = &self.blocked_keys_file else {
            return Ok(BlockedKeys::default());
        };
        let wrong =
            |reason: String| ConfigError::new(format!("`BLOCKED_KEYS_FILE` names `{}`, {reason}.", file.display()));
        let text =
            std::fs::read_to_string(file).map_err(|error| wrong(format!("which cannot be read: {}", error.kind())))?;
        BlockedKeys::parse(&text).map_err(|line| wrong(format!("whose line {line} is no SHA-256 in hex")))
    }
}

/// The key of the enrollment tokens.
#[derive(Debug, Args)]
pub struct TokenSettings {
    /// The key under which enrollment tokens are remembered: at least 32 random characters. Who changes it ends all
    /// tokens.
    #[arg(long, global = true, env = "TOKEN_PEPPER", hide_env_values = true)]
    pub token_pepper: Option<SecretString>,
    /// A file with it.
    #[arg(long, global = true, env = "TOKEN_PEPPER_FILE")]
    pub token_pepper_file: Option<PathBuf>,
}

impl TokenSettings {
    /// Reads the pepper.
    pub fn pepper(&self) -> Result<TokenPepper, ConfigError> {
        let file = self.token_pepper_file.as_deref();
        let pepper = secret("TOKEN_PEPPER", self.token_pepper.as_ref(), file)?.ok_or_else(|| {
            ConfigError::new(
                "`TOKEN_PEPPER` or `TOKEN_PEPPER_FILE` is missing; `openssl rand -hex 32` makes a good one.",
            )
        })?;
        TokenPepper::new(&pepper).map_err(|weak| ConfigError::new(format!("`TOKEN_PEPPER` is too short: {weak}.")))
    }
}

impl Config {
    /// Returns the name of this process.
    pub fn instance(&self) -> Result<String, ConfigError> {
        if let Some(name) = &self.instance {
            return Ok(name.clone());
        }
        if self.database.is_file()? {
            return Ok("bridge-1".to_owned());
        }
        let machine = rustix::system::uname();
        Ok(format!("bridge-{}", machine.nodename().to_string_lossy()))
    }

    /// Checks what the service can choose.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        Ok(Settings {
            network: self.network.network()?.into(),
            hub_endpoint: self.network.endpoint()?,
            blocked_keys: self.device_keys.blocked_keys()?,
            token_pepper: self.tokens.pepper()?,
            reconcile_every: Duration::from_secs(self.network.reconcile_seconds.max(1).into()),
            observe_every: Duration::from_secs(5),
            trusted_proxies: self.proxies.trusted_proxies.clone(),
        })
    }

    /// Checks everything that serving needs, without touching another system.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.settings()?;
        self.database.url()?;
        self.instance()?;
        self.step_ca.options()?;
        self.issuer.rules()?;
        self.neighbours.parts()?;
        self.network.check()?;
        self.listeners.tls.files().map(drop)
    }
}

impl From<&CreateToken> for TokenOrder {
    fn from(create: &CreateToken) -> Self {
        let order = match (&create.device, &create.pattern) {
            (Some(id), _) => Self::for_device(id),
            (None, Some(pattern)) => Self::for_batch(pattern.clone(), create.quota),
            (None, None) => Self::for_batch(IdPattern::parse("*").expect("`*` is a pattern"), create.quota),
        };
        Self {
            group: create.group.clone(),
            purpose: create.purpose,
            lifetime: Duration::from_hours(create.hours.into()),
            ..order
        }
    }
}

fn parse_pattern(text: &str) -> Result<IdPattern, String> {
    IdPattern::parse(text).map_err(|error| error.to_string())
}

fn parse_purpose(text: &str) -> Result<TokenPurpose, String> {
    TokenPurpose::parse(text).ok_or_else(|| "a token's purpose is `enroll` or `return`".to_owned())
}

fn parse_group(text: &str) -> Result<GroupName, String> {
    GroupName::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        <Config as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn devices_enroll_over_plain_http_on_loopback_only() {
        let config = |bind: &str| parse(&["--bind", bind]).listeners.plain_doors();

        assert!(config("127.0.0.1:8000").enroll);
        assert!(!config("0.0.0.0:8000").enroll);
    }

    #[test]
    fn an_issuer_that_anyone_could_pretend_to_be_is_refused() {
        for arguments in [["--oidc-issuer", "http://login.example.com"], ["--oidc-audience", ""]] {
            let error = parse(&arguments).issuer.rules().unwrap_err();
            assert!(error.to_string().contains("OIDC_"), "{error}");
        }
    }

    #[test]
    fn a_missing_pepper_is_explained() {
        let error = parse(&[]).tokens.pepper().unwrap_err();
        assert!(error.to_string().contains("TOKEN_PEPPER_FILE"), "{error}");
    }

    #[test]
    fn a_short_pepper_is_told_the_length_that_is_enough() {
        for length in [8, 20] {
            let error = parse(&["--token-pepper", &"x".repeat(length)])
                .tokens
                .pepper()
                .unwrap_err();
            assert!(error.to_string().contains("at least 32"), "{error}");
        }
    }

    #[test]
    fn a_token_is_for_one_device_or_a_batch() {
        let Some(Command::Token(TokenCommand::Create(create))) =
            parse(&["token", "create", "--pattern", "pump-*", "--quota", "5"]).command
        else {
            panic!("not a token command");
        };
        let order = TokenOrder::from(&create);
        assert_eq!((order.id_pattern.as_str(), order.quota), ("pump-*", 5));
        let nobody = Config::try_parse_from(["x", "token", "create"])
            .unwrap_err()
            .to_string();
        assert!(nobody.contains("--device <DEVICE>|--pattern <PATTERN>"), "{nobody}");
        assert!(Config::try_parse_from(["x", "token", "create", "--device", "a", "--pattern", "b"]).is_err());
    }

    fn parse(arguments: &[&str]) -> Config {
        Config::try_parse_from(["iot-bridge-api"].iter().chain(arguments)).unwrap()
    }
}
