//! Settings: what both services ask for in the same way, and how a bad setting ends the start.
//!
//! Files named `config.rs` are the only ones that read the environment, through clap.

mod database;
mod secret;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, ValueEnum};
use rustls::server::danger::ClientCertVerifier;
use tokio::net::TcpListener;
use url::{Host, Url};

pub use self::database::DatabaseSettings;
pub use self::secret::{secret, strong_secret};
use super::client_address::TrustedProxies;
use super::problem::error_chain;
use super::server::{Tls, TlsFiles};

/// The exit code for a setting that is bad or unsafe (`EX_CONFIG` of sysexits.h).
const EX_CONFIG: u8 = 78;

/// A setting that is bad or unsafe, in one sentence for the person who starts the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// Says what is wrong and what would be right; names settings, never secrets.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// Writes the sentence to stderr and returns exit code 78, for the end of `main`.
    pub fn report(&self) -> ExitCode {
        // Nobody is left to tell when stderr is closed.
        drop(writeln!(std::io::stderr(), "{self}"));
        ExitCode::from(EX_CONFIG)
    }
}

/// Reads flags and environment. `Err` is how the process should end: 0 after `--help` and `--version`, 78
/// after a bad setting; what there is to say has been written.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        drop(error.print());
        ExitCode::from(if error.use_stderr() { EX_CONFIG } else { 0 })
    })
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person at a terminal.
    Human,
    /// One JSON object a line, for machines.
    Json,
}

/// The settings of the log.
#[derive(Debug, Clone, Args)]
pub struct LogSettings {
    /// How log lines are written.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Human, global = true)]
    pub log_format: LogFormat,
    /// What is logged, for example `info` or `info,common=debug`.
    #[arg(long, env = "LOG_FILTER", default_value = "info", global = true)]
    pub log_filter: String,
}

/// The settings of a listener that speaks TLS.
#[derive(Debug, Clone, Args)]
pub struct TlsSettings {
    /// Server certificate with its intermediates, PEM; read again when it changes.
    #[arg(long, env = "TLS_CERT_FILE", global = true)]
    pub tls_cert_file: Option<PathBuf>,
    /// Private key of the server certificate, PEM; read again when it changes.
    #[arg(long, env = "TLS_KEY_FILE", global = true)]
    pub tls_key_file: Option<PathBuf>,
}

impl TlsSettings {
    /// Returns both files, or none; one alone is a mistake.
    pub fn files(&self) -> Result<Option<TlsFiles>, ConfigError> {
        match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            })),
            (None, None) => Ok(None),
            _ => Err(ConfigError::new(
                "`TLS_CERT_FILE` and `TLS_KEY_FILE` belong together; set both or none.",
            )),
        }
    }

    /// Reads both files, if there are any; `clients` decides about the certificates of clients.
    pub async fn load(&self, clients: Option<Arc<dyn ClientCertVerifier>>) -> Result<Option<Tls>, ConfigError> {
        let Some(files) = self.files()? else {
            return Ok(None);
        };
        let tls = Tls::load(files, clients).await.map_err(|error| {
            let reason = error_chain(&error);
            ConfigError::new(format!("`TLS_CERT_FILE` and `TLS_KEY_FILE` cannot be used: {reason}."))
        })?;
        Ok(Some(tls))
    }
}

/// The settings for a service behind a proxy.
#[derive(Debug, Clone, Args)]
pub struct ProxySettings {
    /// Networks whose `X-Forwarded-For` is believed, separated by commas, for example `10.0.0.0/8`.
    #[arg(long, env = "TRUSTED_PROXIES", default_value = "", global = true)]
    pub trusted_proxies: TrustedProxies,
}

/// Opens a listener; `setting` is the name of the setting that the address came from.
pub async fn listen(setting: &'static str, address: SocketAddr) -> Result<TcpListener, ConfigError> {
    TcpListener::bind(address).await.map_err(|error| {
        let reason = error.kind();
        ConfigError::new(format!(
            "`{setting}` says {address}, but it is not possible to listen there: {reason}."
        ))
    })
}

/// Whether only this machine can reach the address.
pub fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Whether an address names this machine, so that nobody can listen in on the way (RFC 6761 §6.3 for `localhost`).
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Accepts the address of an issuer: its keys decide who gets in, so they do not come over plain HTTP from elsewhere.
pub fn safe_issuer(issuer: &str) -> Result<&str, ConfigError> {
    let url = Url::parse(issuer).map_err(|_malformed| {
        ConfigError::new("`OIDC_ISSUER` is not set to an address, so that nobody could log in.")
    })?;
    if url.scheme() == "https" || (url.scheme() == "http" && is_local(&url)) {
        Ok(issuer)
    } else {
        Err(ConfigError::new(
            "`OIDC_ISSUER` has to be an `https://` address; logins over plain HTTP can be stolen.",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Demo {
        #[command(flatten)]
        log: LogSettings,
        #[command(flatten)]
        tls: TlsSettings,
        #[command(flatten)]
        proxy: ProxySettings,
    }

    #[test]
    fn the_shared_sections_have_safe_defaults() {
        let demo = Demo::try_parse_from(["demo"]).unwrap();

        assert_eq!(demo.log.log_format, LogFormat::Human);
        assert_eq!(demo.log.log_filter, "info");
        assert!(demo.tls.files().unwrap().is_none());
        assert!(format!("{:?}", demo.proxy.trusted_proxies).contains("[]"));
    }

    #[test]
    fn a_certificate_without_its_key_is_a_mistake() {
        let demo = Demo::try_parse_from(["demo", "--tls-cert-file", "server.crt"]).unwrap();

        let error = demo.tls.files().unwrap_err();

        assert_eq!(
            error.to_string(),
            "`TLS_CERT_FILE` and `TLS_KEY_FILE` belong together; set both or none."
        );
    }

    #[test]
    fn loopback_is_loopback_in_every_spelling() {
        for address in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_loopback(address.parse().unwrap()), "{address}");
        }
        for address in ["0.0.0.0:1", "[::]:1", "10.8.0.1:1"] {
            assert!(!is_loopback(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_issuer_over_plain_http_is_good_on_this_machine_only() {
        for issuer in [
            "https://login.example.com/realms/fleet",
            "http://127.0.0.1:8180/realms/demo",
            "http://localhost/x",
        ] {
            assert_eq!(safe_issuer(issuer), Ok(issuer), "{issuer}");
        }
        for issuer in [
            "http://login.example.com",
            "http://127.0.0.1.example.com",
            "ftp://localhost",
            "login",
            "",
        ] {
            assert!(
                safe_issuer(issuer).unwrap_err().to_string().contains("OIDC_ISSUER"),
                "{issuer}"
            );
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_explained_in_one_sentence() {
        let taken = listen("BIND", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = taken.local_addr().unwrap();

        let error = listen("BIND", address).await.unwrap_err();

        assert_eq!(
            error.to_string(),
            format!("`BIND` says {address}, but it is not possible to listen there: address in use.")
        );
    }
}
