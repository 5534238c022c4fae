//! The settings of the service; `--help` is their manual. The only file that reads the environment.

mod limits;
mod peers;
mod recording;

use std::net::{Ipv4Addr, SocketAddr};

use clap::{Args, Parser, Subcommand};
use common::chassis::config::{
    ConfigError, DatabaseSettings, LogSettings, ProxySettings, TlsSettings, is_loopback, safe_issuer,
};
use common::chassis::token::{EndpointLocation, JwksSettings, RoleNames, TokenRules};
use common::domain::VpnNetwork;
use http::HeaderName;
use ipnet::Ipv4Net;
use url::Url;

pub use self::limits::Limits;
pub use self::peers::PeerSettings;
pub use self::recording::RecordingSettings;
use crate::origin::{WebOrigin, WebOrigins, entries};
use crate::{Settings, TtydSettings};

/// Lets the people of a fleet open a shell on its devices, and nobody else.
#[derive(Debug, Parser)]
#[command(name = "terminal-proxy", version)]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where to listen.
    #[arg(long, env = "BIND", default_value = "127.0.0.1:8888", global = true)]
    pub bind: SocketAddr,
    /// Where devices and sessions are recorded.
    #[command(flatten)]
    pub database: DatabaseSettings,
    /// The name of this process in session and audit records, unlike any other process's and the same after a restart;
    /// the machine's name and the port unless set, where the database is not a file.
    #[arg(long, env = "INSTANCE", global = true)]
    pub instance: Option<String>,
    /// The other processes of this service.
    #[command(flatten)]
    pub peers: PeerSettings,
    /// Where browsers find the service, for example `https://fleet.example.com`.
    #[arg(long, env = "PUBLIC_URL", default_value = "http://127.0.0.1:8888", global = true)]
    pub public_url: Url,
    /// Further origins of pages that may open terminals, separated by commas.
    #[arg(long, env = "ALLOWED_ORIGINS", default_value = "", global = true)]
    pub allowed_origins: WebOrigins,
    /// Further names that the service may be called by in `Host`, separated by commas, with the port when it
    /// is not the scheme's own. `*` accepts every name.
    #[arg(long, env = "ALLOWED_HOSTS", default_value = "", global = true)]
    pub allowed_hosts: String,
    /// Which sites may show the page in a frame, in the words of the CSP directive `frame-ancestors`.
    #[arg(long, env = "FRAME_ANCESTORS", default_value = "'none'", global = true)]
    pub frame_ancestors: String,
    /// Whether an access token may come in the query. Addresses end in logs and histories; tickets do not care.
    #[arg(long, env = "ALLOW_QUERY_TOKEN", default_value_t = true, action = clap::ArgAction::Set, global = true)]
    pub allow_query_token: bool,
    #[command(flatten)]
    pub(crate) login: LoginSettings,
    #[command(flatten)]
    pub(crate) network: NetworkSettings,
    /// What a session and the whole process may cost.
    #[command(flatten)]
    pub limits: Limits,
    /// What is recorded, and where.
    #[command(flatten)]
    pub recording: RecordingSettings,
    /// The listener's certificate.
    #[command(flatten)]
    pub tls: TlsSettings,
    /// Whom to believe about the client's address.
    #[command(flatten)]
    pub proxy: ProxySettings,
    /// The log.
    #[command(flatten)]
    pub log: LogSettings,
}

/// What the program can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve (the default).
    Serve,
    /// Check the settings and end.
    CheckConfig,
    /// Bring the database's tables up to date and end.
    Migrate,
    /// Check the records in the database and the recordings in their folder, print what is broken, and end with 1 if
    /// anything is.
    Fsck,
}

/// Who may log in.
#[derive(Debug, Args)]
pub(crate) struct LoginSettings {
    /// The issuer's name, exactly as it stands in `iss`.
    #[arg(long, env = "OIDC_ISSUER", global = true)]
    oidc_issuer: Option<String>,
    /// Where to fetch the issuer's keys, when it is not what its discovery document says.
    #[arg(long, env = "OIDC_JWKS_URL", global = true)]
    oidc_jwks_url: Option<Url>,
    /// Where the issuer says who a person is now, when it is neither what its discovery document says nor beside the
    /// keys of `OIDC_JWKS_URL` (Keycloak's `…/protocol/openid-connect/userinfo`).
    #[arg(long, env = "OIDC_USERINFO_URL", global = true)]
    oidc_userinfo_url: Option<Url>,
    /// The name of this service in `aud`.
    #[arg(long, env = "OIDC_AUDIENCE", default_value = "terminal-proxy", global = true)]
    oidc_audience: String,
    /// The client that the page logs in as; its tokens are accepted.
    #[arg(long, env = "OIDC_CLIENT_ID", default_value = "iot-bridge", global = true)]
    oidc_client_id: String,
    /// What the admin role is called at the issuer.
    #[arg(long, env = "ROLE_ADMIN", default_value = "fleet-admin", global = true)]
    role_admin: String,
    /// What the operator role is called at the issuer.
    #[arg(long, env = "ROLE_OPERATOR", default_value = "fleet-operator", global = true)]
    role_operator: String,
    /// What the viewer role is called at the issuer.
    #[arg(long, env = "ROLE_VIEWER", default_value = "fleet-viewer", global = true)]
    role_viewer: String,
}

/// How devices are reached.
#[derive(Debug, Args)]
pub(crate) struct NetworkSettings {
    /// The address range of the device network.
    #[arg(long, env = "WG_SUBNET", default_value = "10.8.0.0/24", global = true)]
    wg_subnet: Ipv4Net,
    /// The hub's address in it; the first host unless told otherwise.
    #[arg(long, env = "WG_SERVER_IP", global = true)]
    wg_server_ip: Option<Ipv4Addr>,
    /// The port of ttyd on devices.
    #[arg(long, env = "TTYD_PORT", default_value_t = 7681, global = true)]
    ttyd_port: u16,
    /// The header that ttyd on devices takes the operator's name from (its option `-H`); empty for none.
    #[arg(long, env = "TTYD_USER_HEADER", default_value = "X-Remote-User", global = true)]
    ttyd_user_header: String,
}

impl Config {
    /// Checks everything that is unsafe in combination, and says what the service is made of.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        if !is_loopback(self.bind) && self.tls.files()?.is_none() && self.proxy.trusted_proxies.is_empty() {
            return Err(ConfigError::new(
                "`BIND` is reachable from other machines without TLS; set `TLS_CERT_FILE` and `TLS_KEY_FILE`, or name \
                 the TLS entrance in front of it in `TRUSTED_PROXIES`.",
            ));
        }
        if self.frame_ancestors.contains([';', ',']) || self.frame_ancestors.chars().any(char::is_control) {
            return Err(ConfigError::new(
                "`FRAME_ANCESTORS` is one list of sources, without `;` and `,`.",
            ));
        }
        self.limits.check()?;
        self.peers.check()?;
        let own = WebOrigin::of(&self.public_url).ok_or_else(|| {
            ConfigError::new("`PUBLIC_URL` is an `http://` or `https://` address without user and password.")
        })?;
        let allowed_hosts = self.allowed_hosts(&own);
        Ok(Settings {
            instance: self.instance()?,
            issuer: self.login.issuer()?.to_owned(),
            client_id: self.login.oidc_client_id.clone(),
            allowed_origins: std::iter::once(own)
                .chain(self.allowed_origins.0.iter().cloned())
                .collect(),
            allowed_hosts,
            frame_ancestors: self.frame_ancestors.clone(),
            allow_query_token: self.allow_query_token,
            network: self.network.network()?,
            ttyd: self.network.ttyd(&self.limits)?,
            access_check_every: self.limits.access_check(),
            limits: self.limits.clone(),
            recording: self.recording.rules()?,
            recording_retention: self.recording.retention(),
            trusted_proxies: self.proxy.trusted_proxies.clone(),
        })
    }

    /// Returns the name of this process.
    pub fn instance(&self) -> Result<String, ConfigError> {
        if let Some(name) = &self.instance {
            return Ok(name.clone());
        }
        if self.database.is_file()? {
            return Ok("terminal-proxy".to_owned());
        }
        let machine = rustix::system::uname();
        let machine = machine.nodename().to_string_lossy();
        Ok(format!("terminal-proxy-{machine}-{}", self.bind.port()))
    }

    fn allowed_hosts(&self, own: &WebOrigin) -> Option<Vec<String>> {
        let further: Vec<&str> = entries(&self.allowed_hosts).collect();
        if further.contains(&"*") {
            return None;
        }
        let all = std::iter::once(own.authority()).chain(further);
        Some(all.map(str::to_ascii_lowercase).collect())
    }

    /// Returns what a token has to say to be believed.
    pub fn token_rules(&self) -> Result<TokenRules, ConfigError> {
        Ok(TokenRules {
            issuer: self.login.issuer()?.to_owned(),
            audience: self.login.oidc_audience.clone(),
            authorized_parties: vec![self.login.oidc_client_id.clone()],
            roles: self.login.roles(),
            max_lifetime: self.limits.max_token_lifetime(),
            leeway: TokenRules::MAX_LEEWAY,
        })
    }

    /// Returns where the issuer's keys are.
    pub fn jwks(&self) -> Result<JwksSettings, ConfigError> {
        let location = match &self.login.oidc_jwks_url {
            Some(url) => EndpointLocation::Url(url.clone()),
            None => EndpointLocation::Discovery {
                issuer: self.login.issuer()?.to_owned(),
            },
        };
        Ok(JwksSettings {
            location,
            max_age: JwksSettings::DEFAULT_MAX_AGE,
        })
    }

    /// Returns where the issuer says who a person is now, and what roles are called there; none when nobody is asked.
    pub fn userinfo(&self) -> Result<Option<(EndpointLocation, RoleNames)>, ConfigError> {
        if self.limits.access_check_seconds == 0 {
            return Ok(None);
        }
        let login = &self.login;
        let beside_keys = login.oidc_jwks_url.as_ref().and_then(beside_keys);
        let location = match login.oidc_userinfo_url.clone().or(beside_keys) {
            Some(url) => EndpointLocation::Url(url),
            None => EndpointLocation::Discovery {
                issuer: login.issuer()?.to_owned(),
            },
        };
        Ok(Some((location, login.roles())))
    }
}

/// Keycloak's keys and its word about people are neighbours.
fn beside_keys(jwks: &Url) -> Option<Url> {
    jwks.path()
        .ends_with("/protocol/openid-connect/certs")
        .then(|| jwks.join("userinfo").ok())?
}

impl LoginSettings {
    fn roles(&self) -> RoleNames {
        RoleNames {
            admin: self.role_admin.clone(),
            operator: self.role_operator.clone(),
            viewer: self.role_viewer.clone(),
        }
    }

    fn issuer(&self) -> Result<&str, ConfigError> {
        let issuer = self.oidc_issuer.as_deref().unwrap_or_default();
        safe_issuer(issuer)
    }
}

impl NetworkSettings {
    fn network(&self) -> Result<VpnNetwork, ConfigError> {
        VpnNetwork::new(self.wg_subnet, self.wg_server_ip)
            .map_err(|error| ConfigError::new(format!("`WG_SUBNET` or `WG_SERVER_IP` is wrong: {error}.")))
    }

    fn ttyd(&self, limits: &Limits) -> Result<TtydSettings, ConfigError> {
        let name = self.ttyd_user_header.as_str();
        let user_header = match name {
            "" => None,
            name => Some(
                HeaderName::from_bytes(name.as_bytes())
                    .map_err(|_invalid| ConfigError::new("`TTYD_USER_HEADER` is not the name of an HTTP header."))?,
            ),
        };
        Ok(TtydSettings {
            port: self.ttyd_port,
            user_header,
            connect_timeout: limits.connect_timeout(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "--oidc-issuer=https://login.example.com/realms/fleet";

    fn settings(arguments: &[&str]) -> Result<Settings, ConfigError> {
        Config::try_parse_from(["terminal-proxy"].iter().chain(arguments))
            .unwrap()
            .settings()
    }

    #[test]
    fn the_defaults_and_an_issuer_are_enough() {
        let settings = settings(&[ISSUER]).unwrap();

        assert_eq!(
            settings.allowed_hosts.as_deref(),
            Some(&["127.0.0.1:8888".to_owned()][..])
        );
        assert_eq!(settings.ttyd.port, 7681);
        assert!(settings.allow_query_token);
    }

    #[test]
    fn unsafe_combinations_stop_the_start_with_one_sentence() {
        for (arguments, named) in [
            (&[][..], "OIDC_ISSUER"),
            (&["--oidc-issuer=http://login.example.com"], "OIDC_ISSUER"),
            (&[ISSUER, "--bind=0.0.0.0:8888"], "TRUSTED_PROXIES"),
            (&[ISSUER, "--bind=[::]:8888"], "TRUSTED_PROXIES"),
            (&[ISSUER, "--tls-cert-file=a", "--bind=0.0.0.0:8888"], "TLS_KEY_FILE"),
            (&[ISSUER, "--frame-ancestors=*; script-src *"], "FRAME_ANCESTORS"),
            (&[ISSUER, "--public-url=ftp://fleet.example.com"], "PUBLIC_URL"),
            (&[ISSUER, "--public-url=https://a:b@fleet.example.com"], "PUBLIC_URL"),
            (&[ISSUER, "--wg-subnet=8.8.8.0/24"], "WG_SUBNET"),
            (&[ISSUER, "--ttyd-user-header=a b"], "TTYD_USER_HEADER"),
            (&[ISSUER, "--max-message-bytes=0"], "MAX_MESSAGE_BYTES"),
            (&[ISSUER, "--session-idle-seconds=0"], "SESSION_IDLE_SECONDS"),
            (&[ISSUER, "--peer-url=http://proxy-2:8888"], "PEER_URL"),
            (&[ISSUER, "--peer-url=https://proxy-2/path"], "PEER_URL"),
        ] {
            let sentence = settings(arguments).unwrap_err().to_string();
            assert!(sentence.contains(named), "{arguments:?}: {sentence}");
        }
    }

    #[test]
    fn two_processes_of_one_database_have_names_of_their_own() {
        let name = |arguments: &[&str]| {
            let config = Config::try_parse_from(["terminal-proxy"].iter().chain(arguments)).unwrap();
            config.instance().unwrap()
        };
        let shared = "--database-url=postgres://proxy@db/bridge";

        assert_ne!(
            name(&[shared, "--bind=127.0.0.1:8888"]),
            name(&[shared, "--bind=127.0.0.1:8889"])
        );
        assert_eq!(name(&[shared]), name(&[shared]));
        assert_eq!(name(&[shared, "--instance=proxy-2"]), "proxy-2");
        assert_eq!(name(&["--database-url=sqlite:///tmp/a.db"]), "terminal-proxy");
    }

    #[test]
    fn other_machines_may_reach_it_behind_an_entrance() {
        assert!(settings(&[ISSUER, "--bind=0.0.0.0:8888", "--trusted-proxies=10.0.0.0/8"]).is_ok());
    }
}
