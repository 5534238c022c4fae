use std::fs;
use std::path::PathBuf;

use clap::Args;
use common::chassis::config::{ConfigError, is_local};
use common::chassis::http_client::Trust;
use url::Url;

/// The other processes of this service, where several share a database.
#[derive(Debug, Clone, Args)]
pub struct PeerSettings {
    /// Where the other processes of this service reach this one, for example `https://proxy-2.internal:8888`: a session
    /// is served by the process that opened it, and the others hand its person over. Without it people who reach
    /// another process get a new shell there.
    #[arg(long, env = "PEER_URL", global = true)]
    peer_url: Option<Url>,
    /// The authorities of the other processes' certificates, PEM, beside the machine's own.
    #[arg(long, env = "PEER_CA_FILE", global = true)]
    peer_ca_file: Option<PathBuf>,
}

impl PeerSettings {
    /// People's tokens travel between processes: not in the clear, except on this machine.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Some(url) = &self.peer_url else { return Ok(()) };
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_local(url));
        if is_safe && url.path() == "/" && url.query().is_none() && url.username().is_empty() {
            Ok(())
        } else {
            Err(ConfigError::new(
                "`PEER_URL` has to be an `https://` address without path: people's tokens travel between processes.",
            ))
        }
    }

    /// Returns where this process is reached, and whose certificates it believes.
    pub fn parts(&self) -> Result<(Option<Url>, Trust), ConfigError> {
        let trust = match &self.peer_ca_file {
            None => Trust::System,
            Some(file) => Trust::SystemAnd(
                fs::read(file)
                    .map_err(|error| ConfigError::new(format!("`PEER_CA_FILE` cannot be read: {}.", error.kind())))?,
            ),
        };
        Ok((self.peer_url.clone(), trust))
    }
}
