//! What is prepared at the systems beside us, and with whose rights.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use common::chassis::config::{ConfigError, secret};
use secrecy::SecretString;
use url::Url;

use super::neighbours::{NeighbourSettings, address};
use crate::adapters::keycloak::{KeycloakOrder, RealmFile};
use crate::adapters::thingsboard::provision::{Account, LoginOrder, Order, Placeholders, TenantOrder};

/// What can be prepared.
#[derive(Debug, Clone, Subcommand)]
pub enum ProvisionCommand {
    /// The tenant with its administrator and our API key, the device profile, the rule chain that tells us of
    /// connections, widgets, dashboards, and the login.
    Thingsboard(Box<ThingsboardArguments>),
    /// How devices prove themselves, and how often they look for updates.
    Hawkbit,
    /// Realms with their roles, groups, clients and first people.
    Keycloak(KeycloakArguments),
}

/// What `ThingsBoard` gets. `THINGSBOARD_USER` and `THINGSBOARD_PASSWORD_FILE` are who works in the tenant.
#[derive(Debug, Clone, Args)]
pub struct ThingsboardArguments {
    /// Our address as `ThingsBoard` sees it.
    #[arg(long)]
    bridge_url: Url,
    /// The terminal's page as browsers see it, for widgets and dashboards.
    #[arg(long, default_value = "http://127.0.0.1:8888")]
    terminal_url: Url,
    /// A folder with rule chains, device profiles, widgets and dashboards (JSON), instead of those that are part of
    /// this program.
    #[arg(long)]
    files: Option<PathBuf>,
    /// A file with the system administrator's password. With it, tenant and administrator are made where they are
    /// missing; a ThingsBoard that was just installed gets this password in place of its first one.
    #[arg(long)]
    sysadmin_password_file: Option<PathBuf>,
    /// The system administrator.
    #[arg(long, default_value = "sysadmin@thingsboard.org")]
    sysadmin: String,
    /// The tenant's title.
    #[arg(long, default_value = "iot-bridge")]
    tenant: String,
    /// The file that the bridge's API key is written to, unless a good one is there.
    #[arg(long)]
    api_key_file: Option<PathBuf>,
    /// The realm that people log in with, as browsers see it; needs the system administrator.
    #[arg(long, requires_all = ["sysadmin_password_file", "login_client_secret_file", "login_domain"])]
    login_issuer: Option<Url>,
    /// The realm as `ThingsBoard` sees it, when that is another address.
    #[arg(long)]
    login_internal_issuer: Option<Url>,
    /// The realm's client.
    #[arg(long, default_value = "thingsboard")]
    login_client: String,
    /// A file with the client's secret.
    #[arg(long)]
    login_client_secret_file: Option<PathBuf>,
    /// `ThingsBoard`'s `host[:port]` as browsers see it.
    #[arg(long)]
    login_domain: Option<String>,
}

/// What Keycloak gets.
#[derive(Debug, Clone, Args)]
pub struct KeycloakArguments {
    /// Keycloak's address, with its path prefix if it has one.
    #[arg(long)]
    keycloak_url: Url,
    /// An administrator of the realm `master`.
    #[arg(long)]
    admin: String,
    /// A file with the administrator's password.
    #[arg(long)]
    admin_password_file: PathBuf,
    /// A realm's file, as in `deploy/keycloak`; may be repeated, also for parts of one realm.
    #[arg(long = "realm-file", required = true)]
    realm_files: Vec<PathBuf>,
    /// What stands for `${NAME}` in the files: `NAME=VALUE`; may be repeated.
    #[arg(long = "set", value_parser = parse_setting)]
    settings: Vec<(String, String)>,
    /// As `--set`, with a file that has the value: `NAME=PATH`.
    #[arg(long = "set-file", value_parser = parse_setting)]
    setting_files: Vec<(String, String)>,
}

impl ThingsboardArguments {
    /// Checks the arguments and reads the secrets.
    pub fn order(&self, webhook: SecretString) -> Result<Order, ConfigError> {
        let tenant = self.sysadmin_password_file.as_deref().map(|file| {
            Ok::<_, ConfigError>(TenantOrder {
                administrator: Account {
                    user: self.sysadmin.clone(),
                    password: from_file("--sysadmin-password-file", file)?,
                },
                title: self.tenant.clone(),
            })
        });
        Ok(Order {
            tenant: tenant.transpose()?,
            login: self.login()?,
            api_key_file: self.api_key_file.clone(),
            files: self.files.clone(),
            placeholders: Placeholders {
                bridge: web("--bridge-url", &self.bridge_url)?,
                secret: webhook,
                terminal: web("--terminal-url", &self.terminal_url)?,
            },
        })
    }

    fn login(&self) -> Result<Option<LoginOrder>, ConfigError> {
        let (Some(issuer), Some(file), Some(domain)) =
            (&self.login_issuer, &self.login_client_secret_file, &self.login_domain)
        else {
            return Ok(None);
        };
        let internal = self.login_internal_issuer.as_ref().unwrap_or(issuer);
        Ok(Some(LoginOrder {
            issuer: web("--login-issuer", issuer)?,
            internal_issuer: web("--login-internal-issuer", internal)?,
            client_id: self.login_client.clone(),
            client_secret: from_file("--login-client-secret-file", file)?,
            domain: domain.clone(),
            tenant: self.tenant.clone(),
        }))
    }
}

impl KeycloakArguments {
    /// Checks the arguments and reads file and secrets.
    pub fn order(&self) -> Result<KeycloakOrder, ConfigError> {
        let mut settings: Vec<(String, SecretString)> = Vec::new();
        for (name, value) in &self.settings {
            settings.push((name.clone(), value.as_str().into()));
        }
        for (name, path) in &self.setting_files {
            settings.push((name.clone(), from_file("--set-file", Path::new(path))?));
        }
        let realms = self.realm_files.iter().map(|path| {
            let unusable = |reason: &dyn std::fmt::Display| {
                ConfigError::new(format!("`--realm-file` {} cannot be used: {reason}.", path.display()))
            };
            let text = std::fs::read_to_string(path).map_err(|error| unusable(&error.kind()))?;
            RealmFile::parse(&text, &settings).map_err(|error| unusable(&error))
        });
        Ok(KeycloakOrder {
            url: web("--keycloak-url", &self.keycloak_url)?,
            admin: self.admin.clone(),
            password: from_file("--admin-password-file", &self.admin_password_file)?,
            realms: realms.collect::<Result<_, ConfigError>>()?,
        })
    }
}

impl NeighbourSettings {
    pub(super) fn webhook_secret(&self) -> Result<SecretString, ConfigError> {
        let secret = common::chassis::config::strong_secret(
            "THINGSBOARD_WEBHOOK_SECRET",
            self.thingsboard_webhook_secret.as_ref(),
            self.thingsboard_webhook_secret_file.as_deref(),
        )?;
        secret.ok_or_else(|| ConfigError::new("`THINGSBOARD_WEBHOOK_SECRET` is missing."))
    }
}

fn web(name: &str, url: &Url) -> Result<Url, ConfigError> {
    address(name, Some(url)).map(|url| url.expect("there was one"))
}

fn from_file(name: &'static str, file: &Path) -> Result<SecretString, ConfigError> {
    let value = secret(name, None, Some(file))?;
    value.ok_or_else(|| ConfigError::new(format!("`{name}` is empty.")))
}

fn parse_setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
