//! Who tells who an operator is.

use std::time::Duration;

use clap::Args;
use common::chassis::config::{ConfigError, safe_issuer};
use common::chassis::token::{EndpointLocation, JwksSettings, RoleNames, TokenRules};
use url::Url;

/// The OpenID Connect issuer of the operators.
#[derive(Debug, Args)]
pub struct IssuerSettings {
    /// The issuer's name, exactly as in its tokens.
    #[arg(
        long,
        env = "OIDC_ISSUER",
        default_value = "http://127.0.0.1:8080/realms/iot",
        global = true
    )]
    pub oidc_issuer: Url,
    /// Where the issuer's keys are, when discovery is not to be asked.
    #[arg(long, env = "OIDC_JWKS_URL", global = true)]
    pub oidc_jwks_url: Option<Url>,
    /// This service's name in `aud`.
    #[arg(long, env = "OIDC_AUDIENCE", default_value = "iot-bridge-api", global = true)]
    pub oidc_audience: String,
    /// The clients whose tokens are accepted (`azp`), separated by commas.
    #[arg(
        long,
        env = "OIDC_CLIENT_ID",
        default_value = "iot-bridge",
        value_delimiter = ',',
        global = true
    )]
    pub oidc_client_id: Vec<String>,
    /// The longest lifetime of a token that is believed, in seconds.
    #[arg(long, env = "OIDC_MAX_TOKEN_SECONDS", default_value_t = 300, global = true)]
    pub oidc_max_token_seconds: u32,
    /// What the admin role is called.
    #[arg(long, env = "ROLE_ADMIN", default_value = "fleet-admin", global = true)]
    pub role_admin: String,
    /// What the operator role is called.
    #[arg(long, env = "ROLE_OPERATOR", default_value = "fleet-operator", global = true)]
    pub role_operator: String,
    /// What the viewer role is called.
    #[arg(long, env = "ROLE_VIEWER", default_value = "fleet-viewer", global = true)]
    pub role_viewer: String,
}

impl IssuerSettings {
    /// Returns what a token has to say, unless that would let in what nobody meant.
    pub fn rules(&self) -> Result<TokenRules, ConfigError> {
        safe_issuer(self.oidc_issuer.as_str())?;
        let rules = TokenRules {
            issuer: self.issuer_name(),
            audience: self.oidc_audience.clone(),
            authorized_parties: self.oidc_client_id.clone(),
            roles: RoleNames {
                admin: self.role_admin.clone(),
                operator: self.role_operator.clone(),
                viewer: self.role_viewer.clone(),
            },
            max_lifetime: Duration::from_secs(self.oidc_max_token_seconds.into()),
            leeway: TokenRules::MAX_LEEWAY,
        };
        rules
            .check()
            .map_err(|error| ConfigError::new(format!("The `OIDC_…` or `ROLE_…` settings are unsafe: {error}.")))?;
        Ok(rules)
    }

    /// Returns where the keys are.
    pub fn keys(&self) -> JwksSettings {
        let location = match &self.oidc_jwks_url {
            Some(url) => EndpointLocation::Url(url.clone()),
            None => EndpointLocation::Discovery {
                issuer: self.issuer_name(),
            },
        };
        JwksSettings {
            location,
            max_age: JwksSettings::DEFAULT_MAX_AGE,
        }
    }

    /// A URL without a path is printed with a slash that no issuer writes.
    fn issuer_name(&self) -> String {
        self.oidc_issuer.as_str().trim_end_matches('/').to_owned()
    }
}
