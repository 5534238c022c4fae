//! The systems beside us: `ThingsBoard` and hawkBit. One without an address is never told anything.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use common::chassis::config::{ConfigError, secret, strong_secret};
use common::chassis::http_client::{self, HttpClientOptions};
use reqwest::Client;
use secrecy::SecretString;
use url::Url;

use super::AgentSettings;
use crate::adapters::hawkbit::{Hawkbit, HawkbitOptions};
use crate::adapters::thingsboard::{ThingsBoard, ThingsBoardLogin, ThingsBoardOptions};
use crate::app::webhook_secret::WebhookSecrets;
use crate::ports::{DevicePlatform, UpdateServer};
use crate::services::NeighbourParts;

/// A server that was just started takes long for what it does for the first time, such as making a realm.
const PATIENCE_AT_FIRST: Duration = Duration::from_mins(1);

/// How to reach the systems beside us, and who may send us messages.
#[derive(Debug, Args)]
pub struct NeighbourSettings {
    /// ThingsBoard's address; without it ThingsBoard is not told anything.
    #[arg(long, env = "THINGSBOARD_URL", global = true)]
    pub thingsboard_url: Option<Url>,
    /// An API key of a tenant administrator (`ThingsBoard` 4.3 or later).
    #[arg(long, env = "THINGSBOARD_API_KEY", hide_env_values = true, global = true)]
    pub thingsboard_api_key: Option<SecretString>,
    /// A file with it.
    #[arg(long, env = "THINGSBOARD_API_KEY_FILE", global = true)]
    pub thingsboard_api_key_file: Option<PathBuf>,
    /// A tenant administrator, instead of an API key.
    #[arg(long, env = "THINGSBOARD_USER", global = true)]
    pub thingsboard_user: Option<String>,
    /// The tenant administrator's password.
    #[arg(long, env = "THINGSBOARD_PASSWORD", hide_env_values = true, global = true)]
    pub thingsboard_password: Option<SecretString>,
    /// A file with it.
    #[arg(long, env = "THINGSBOARD_PASSWORD_FILE", global = true)]
    pub thingsboard_password_file: Option<PathBuf>,
    /// The name of the device profile of our devices; its provisioning must be disabled.
    #[arg(long, env = "THINGSBOARD_PROFILE", default_value = "iot-bridge", global = true)]
    pub thingsboard_profile: String,
    /// What ThingsBoard's rule chain sends as `Authorization: Bearer`: at least 16 random characters.
    #[arg(long, env = "THINGSBOARD_WEBHOOK_SECRET", hide_env_values = true, global = true)]
    pub thingsboard_webhook_secret: Option<SecretString>,
    /// A file with it.
    #[arg(long, env = "THINGSBOARD_WEBHOOK_SECRET_FILE", global = true)]
    pub thingsboard_webhook_secret_file: Option<PathBuf>,
    /// The secret before, good as well while the rule chain is changed.
    #[arg(
        long,
        env = "THINGSBOARD_WEBHOOK_SECRET_PREVIOUS",
        hide_env_values = true,
        global = true
    )]
    pub thingsboard_webhook_secret_previous: Option<SecretString>,
    /// A file with it.
    #[arg(long, env = "THINGSBOARD_WEBHOOK_SECRET_PREVIOUS_FILE", global = true)]
    pub thingsboard_webhook_secret_previous_file: Option<PathBuf>,
    /// hawkBit's address; without it hawkBit is not told anything.
    #[arg(long, env = "HAWKBIT_URL", global = true)]
    pub hawkbit_url: Option<Url>,
    /// A user of hawkBit's management API.
    #[arg(long, env = "HAWKBIT_USER", global = true)]
    pub hawkbit_user: Option<String>,
    /// The user's password.
    #[arg(long, env = "HAWKBIT_PASSWORD", hide_env_values = true, global = true)]
    pub hawkbit_password: Option<SecretString>,
    /// A file with it.
    #[arg(long, env = "HAWKBIT_PASSWORD_FILE", global = true)]
    pub hawkbit_password_file: Option<PathBuf>,
    /// What a sender of hawkBit's news sends as `Authorization: Bearer`: at least 16 random characters.
    #[arg(long, env = "HAWKBIT_WEBHOOK_SECRET", hide_env_values = true, global = true)]
    pub hawkbit_webhook_secret: Option<SecretString>,
    /// A file with it.
    #[arg(long, env = "HAWKBIT_WEBHOOK_SECRET_FILE", global = true)]
    pub hawkbit_webhook_secret_file: Option<PathBuf>,
    /// The secret before, good as well while the sender is changed.
    #[arg(long, env = "HAWKBIT_WEBHOOK_SECRET_PREVIOUS", hide_env_values = true, global = true)]
    pub hawkbit_webhook_secret_previous: Option<SecretString>,
    /// A file with it.
    #[arg(long, env = "HAWKBIT_WEBHOOK_SECRET_PREVIOUS_FILE", global = true)]
    pub hawkbit_webhook_secret_previous_file: Option<PathBuf>,
    /// How often the results of updates are read, in seconds.
    #[arg(long, env = "HAWKBIT_READ_SECONDS", default_value_t = 10, global = true)]
    pub hawkbit_read_seconds: u32,
    /// How often ThingsBoard, hawkBit and InfluxDB are compared with the database, in seconds.
    #[arg(long, env = "SWEEP_SECONDS", default_value_t = 900, global = true)]
    pub sweep_seconds: u32,
    /// What devices are told, and the metrics store.
    #[command(flatten)]
    pub agents: AgentSettings,
}

impl NeighbourSettings {
    /// Checks the settings and reads the secrets.
    pub fn parts(&self) -> Result<NeighbourParts, ConfigError> {
        let client = client()?;
        Ok(NeighbourParts {
            platform: self.thingsboard(&client)?,
            updates: self.hawkbit(&client)?,
            metrics: self.agents.influxdb(&client)?,
            places: self.agents.places(self)?,
            platform_secrets: self.platform_secrets()?,
            updates_secrets: self.updates_secrets()?,
            read_every: Duration::from_secs(self.hawkbit_read_seconds.max(1).into()),
            sweep_every: Duration::from_secs(self.sweep_seconds.max(1).into()),
        })
    }

    fn thingsboard(&self, client: &Client) -> Result<Option<Arc<dyn DevicePlatform>>, ConfigError> {
        let options = self.thingsboard_options()?;
        Ok(options.map(|options| Arc::new(ThingsBoard::new(client.clone(), options)) as Arc<dyn DevicePlatform>))
    }

    fn thingsboard_options(&self) -> Result<Option<ThingsBoardOptions>, ConfigError> {
        let Some(url) = address("THINGSBOARD_URL", self.thingsboard_url.as_ref())? else {
            return Ok(None);
        };
        Ok(Some(ThingsBoardOptions {
            url,
            login: self.thingsboard_login()?,
            profile: self.thingsboard_profile.clone(),
        }))
    }

    /// Returns what preparing `ThingsBoard` needs: its address and the secret of its messages besides.
    pub fn thingsboard_to_provision(&self) -> Result<(Client, ThingsBoardOptions, SecretString), ConfigError> {
        let options = self.thingsboard_options()?;
        let options = options.ok_or_else(|| ConfigError::new("`THINGSBOARD_URL` is missing."))?;
        Ok((Self::client()?, options, self.webhook_secret()?))
    }

    /// Makes a client for whatever is prepared.
    pub fn client() -> Result<Client, ConfigError> {
        build(&HttpClientOptions {
            total_timeout: PATIENCE_AT_FIRST,
            ..HttpClientOptions::default()
        })
    }

    /// Returns hawkBit, to prepare it.
    pub fn hawkbit_to_provision(&self) -> Result<Arc<Hawkbit>, ConfigError> {
        let hawkbit = self.hawkbit_itself(&Self::client()?)?;
        hawkbit.ok_or_else(|| ConfigError::new("`HAWKBIT_URL` is missing."))
    }

    fn thingsboard_login(&self) -> Result<ThingsBoardLogin, ConfigError> {
        let key = secret(
            "THINGSBOARD_API_KEY",
            self.thingsboard_api_key.as_ref(),
            self.thingsboard_api_key_file.as_deref(),
        )?;
        let password = secret(
            "THINGSBOARD_PASSWORD",
            self.thingsboard_password.as_ref(),
            self.thingsboard_password_file.as_deref(),
        )?;
        match (key, self.thingsboard_user.clone(), password) {
            (Some(key), None, None) => Ok(ThingsBoardLogin::ApiKey(key)),
            (None, Some(user), Some(password)) => Ok(ThingsBoardLogin::Password { user, password }),
            _ => Err(ConfigError::new(
                "`THINGSBOARD_URL` needs `THINGSBOARD_API_KEY`, or both `THINGSBOARD_USER` and `THINGSBOARD_PASSWORD`.",
            )),
        }
    }

    fn hawkbit(&self, client: &Client) -> Result<Option<Arc<dyn UpdateServer>>, ConfigError> {
        let hawkbit = self.hawkbit_itself(client)?;
        Ok(hawkbit.map(|hawkbit| hawkbit as Arc<dyn UpdateServer>))
    }

    fn hawkbit_itself(&self, client: &Client) -> Result<Option<Arc<Hawkbit>>, ConfigError> {
        let Some(url) = address("HAWKBIT_URL", self.hawkbit_url.as_ref())? else {
            return Ok(None);
        };
        let password = secret(
            "HAWKBIT_PASSWORD",
            self.hawkbit_password.as_ref(),
            self.hawkbit_password_file.as_deref(),
        )?;
        let (Some(user), Some(password)) = (self.hawkbit_user.clone(), password) else {
            return Err(ConfigError::new(
                "`HAWKBIT_URL` needs `HAWKBIT_USER` and `HAWKBIT_PASSWORD`.",
            ));
        };
        let options = HawkbitOptions { url, user, password };
        Ok(Some(Arc::new(Hawkbit::new(client.clone(), options))))
    }

    fn platform_secrets(&self) -> Result<WebhookSecrets, ConfigError> {
        let current = strong_secret(
            "THINGSBOARD_WEBHOOK_SECRET",
            self.thingsboard_webhook_secret.as_ref(),
            self.thingsboard_webhook_secret_file.as_deref(),
        )?;
        let previous = strong_secret(
            "THINGSBOARD_WEBHOOK_SECRET_PREVIOUS",
            self.thingsboard_webhook_secret_previous.as_ref(),
            self.thingsboard_webhook_secret_previous_file.as_deref(),
        )?;
        Ok(WebhookSecrets::new(current.into_iter().chain(previous).collect()))
    }

    fn updates_secrets(&self) -> Result<WebhookSecrets, ConfigError> {
        let current = strong_secret(
            "HAWKBIT_WEBHOOK_SECRET",
            self.hawkbit_webhook_secret.as_ref(),
            self.hawkbit_webhook_secret_file.as_deref(),
        )?;
        let previous = strong_secret(
            "HAWKBIT_WEBHOOK_SECRET_PREVIOUS",
            self.hawkbit_webhook_secret_previous.as_ref(),
            self.hawkbit_webhook_secret_previous_file.as_deref(),
        )?;
        Ok(WebhookSecrets::new(current.into_iter().chain(previous).collect()))
    }
}

fn client() -> Result<Client, ConfigError> {
    build(&HttpClientOptions::default())
}

fn build(options: &HttpClientOptions) -> Result<Client, ConfigError> {
    http_client::build(options).map_err(|error| ConfigError::new(format!("No HTTP client can be made: {error}.")))
}

pub(super) fn address(name: &str, url: Option<&Url>) -> Result<Option<Url>, ConfigError> {
    let Some(url) = url else { return Ok(None) };
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if matches!(url.scheme(), "http" | "https") && is_plain && url.password().is_none() {
        return Ok(Some(url.clone()));
    }
    Err(ConfigError::new(format!(
        "`{name}` must be an http or https address without user, query or fragment."
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        neighbours: NeighbourSettings,
    }

    #[test]
    fn without_addresses_nobody_is_told() {
        let parts = parse(&[]).parts().unwrap();
        assert!(parts.platform.is_none() && parts.updates.is_none());
    }

    #[test]
    fn an_address_needs_credentials_that_fit() {
        let thingsboard = ["--thingsboard-url", "https://tb.example"];
        let bad: [&[&str]; 3] = [
            &[],
            &["--thingsboard-user", "bridge@example.com"],
            &[
                "--thingsboard-api-key",
                "tb_key-of-the-bridge",
                "--thingsboard-user",
                "u",
            ],
        ];
        for more in bad {
            assert!(parse(&[&thingsboard, more].concat()).parts().is_err(), "{more:?}");
        }
        let good = parse(&[&thingsboard[..], &["--thingsboard-api-key", "tb_key-of-the-bridge"]].concat());
        assert!(good.parts().unwrap().platform.is_some());
        assert!(parse(&["--hawkbit-url", "https://hawkbit.example"]).parts().is_err());
        assert!(parse(&["--hawkbit-url", "ftp://hawkbit.example"]).parts().is_err());
    }

    #[test]
    fn two_webhook_secrets_are_good_at_once() {
        let arguments = [
            "--thingsboard-webhook-secret",
            "the-new-secret-of-the-chain",
            "--thingsboard-webhook-secret-previous",
            "the-old-secret-of-the-chain",
        ];
        let secrets = parse(&arguments).parts().unwrap().platform_secrets;
        assert!(secrets.accept("the-new-secret-of-the-chain") && secrets.accept("the-old-secret-of-the-chain"));
        assert!(parse(&["--hawkbit-webhook-secret", "short"]).parts().is_err());
    }

    fn parse(arguments: &[&str]) -> NeighbourSettings {
        Only::parse_from(["x"].iter().chain(arguments)).neighbours
    }
}
