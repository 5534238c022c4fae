//! The device network.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use common::chassis::config::ConfigError;
use common::domain::{VpnNetwork, WireguardPrivateKey};
use ipnet::Ipv4Net;
use secrecy::ExposeSecret as _;
use wireguard::quick::HubEndpoint;

/// Where the hub of the device network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HubKind {
    /// In this process, without root.
    Embedded,
}

/// The device network.
#[derive(Debug, Args)]
pub struct NetworkSettings {
    /// Where the hub is.
    #[arg(long, env = "WG_HUB", value_enum, default_value_t = HubKind::Embedded)]
    pub wg_hub: HubKind,
    /// The address range of the devices, between /12 and /30.
    #[arg(long, env = "WG_SUBNET", default_value = "10.8.0.0/24")]
    pub wg_subnet: Ipv4Net,
    /// The hub's own address in it; the first host unless set.
    #[arg(long, env = "WG_SERVER_IP")]
    pub wg_server_ip: Option<Ipv4Addr>,
    /// Where devices find the hub, `host:port`; without it the machine itself, for trying out.
    #[arg(long, env = "WG_SERVER_ENDPOINT")]
    pub wg_server_endpoint: Option<String>,
    /// The hub's UDP port.
    #[arg(long, env = "WG_PORT", default_value_t = 51820)]
    pub wg_port: u16,
    /// The hub's private key; made at the first start.
    #[arg(long, env = "WG_PRIVATE_KEY_FILE", default_value = "/var/lib/iot-bridge/hub.key")]
    pub wg_private_key_file: PathBuf,
    /// How often the hub is compared with the database, in seconds.
    #[arg(long, env = "RECONCILE_SECONDS", default_value_t = 60)]
    pub reconcile_seconds: u32,
}

impl NetworkSettings {
    /// Checks the address range.
    pub fn network(&self) -> Result<VpnNetwork, ConfigError> {
        VpnNetwork::new(self.wg_subnet, self.wg_server_ip)
            .map_err(|error| ConfigError::new(format!("`WG_SUBNET` and `WG_SERVER_IP` do not fit: {error}.")))
    }

    /// Checks where devices find the hub.
    pub fn endpoint(&self) -> Result<HubEndpoint, ConfigError> {
        let text = self
            .wg_server_endpoint
            .clone()
            .unwrap_or_else(|| format!("127.0.0.1:{}", self.wg_port));
        let invalid = |_| ConfigError::new("`WG_SERVER_ENDPOINT` must be a host name or IPv4 address and a port.");
        text.parse().map_err(invalid)
    }

    /// Returns where the hub listens.
    pub fn listen(&self) -> SocketAddr {
        SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.wg_port)
    }

    /// Reads the hub's private key, or makes it the first time: a file that only its owner may read.
    pub fn private_key(&self) -> Result<WireguardPrivateKey, ConfigError> {
        let path = &self.wg_private_key_file;
        let explain = |error: io::Error| {
            let (path, reason) = (path.display(), error.kind());
            ConfigError::new(format!(
                "`WG_PRIVATE_KEY_FILE` names `{path}`, which cannot be used: {reason}."
            ))
        };
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.mode() & 0o077 != 0 => Err(ConfigError::new(format!(
                "`{}` holds a private key and others may read it; `chmod 600` it.",
                path.display()
            ))),
            Ok(_) => read_key(path).map_err(explain),
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(path).map_err(explain),
            Err(error) => Err(explain(error)),
        }
    }
}

fn read_key(path: &Path) -> io::Result<WireguardPrivateKey> {
    let text = std::fs::read_to_string(path)?;
    WireguardPrivateKey::parse(&text).map_err(|_invalid| io::ErrorKind::InvalidData.into())
}

fn make_key(path: &Path) -> io::Result<WireguardPrivateKey> {
    let key = WireguardPrivateKey::generate();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", key.to_base64().expose_secret())?;
    file.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path().join("hub.key"));

        let first = settings.private_key().unwrap().public_key();

        assert_eq!(settings.private_key().unwrap().public_key(), first);
        std::fs::set_permissions(&settings.wg_private_key_file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(settings.private_key().unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn an_endpoint_that_is_none_is_refused() {
        let mut settings = settings(PathBuf::new());
        assert_eq!(settings.endpoint().unwrap().to_string(), "127.0.0.1:51820");
        settings.wg_server_endpoint = Some("hub.example.com".to_owned());
        assert!(settings.endpoint().is_err());
    }

    fn settings(wg_private_key_file: PathBuf) -> NetworkSettings {
        NetworkSettings {
            wg_hub: HubKind::Embedded,
            wg_subnet: "10.8.0.0/24".parse().unwrap(),
            wg_server_ip: None,
            wg_server_endpoint: None,
            wg_port: 51820,
            wg_private_key_file,
            reconcile_seconds: 60,
        }
    }
}
