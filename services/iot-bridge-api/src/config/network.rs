//! The device network.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use common::chassis::config::ConfigError;
use common::domain::{VpnNetwork, WireguardPrivateKey};
use ipnet::{Ipv4Net, Ipv6Net};
use wireguard::quick::HubEndpoint;

use super::hub::{HubKind, HubSettings};

/// The device network.
#[derive(Debug, Args)]
pub struct NetworkSettings {
    /// Where the hub is: `embedded` in this process, for trying out; `unix:` and the path of the socket of
    /// `iot-bridge-api hub`; `local` when this process owns the interface itself, as root.
    #[arg(long, env = "WG_HUB", default_value_t = HubKind::Embedded, global = true)]
    pub wg_hub: HubKind,
    /// The address range of the devices, between /12 and /30.
    #[arg(long, env = "WG_SUBNET", default_value = "10.8.0.0/24", global = true)]
    pub wg_subnet: Ipv4Net,
    /// IPv6 addresses beside them, from a unique local prefix such as `fd5a:1:2:3::/64`; each ends with the device's IPv4
    /// address. Not with an embedded hub.
    #[arg(long, env = "WG_SUBNET6", global = true)]
    pub wg_subnet6: Option<Ipv6Net>,
    /// The hub's own address in the range of the devices; its first host unless set.
    #[arg(long, env = "WG_SERVER_IP", global = true)]
    pub wg_server_ip: Option<Ipv4Addr>,
    /// Where devices find the hub, `host:port`; without it the machine itself, for trying out.
    #[arg(long, env = "WG_SERVER_ENDPOINT", global = true)]
    pub wg_server_endpoint: Option<String>,
    /// The hub's UDP port.
    #[arg(long, env = "WG_PORT", default_value_t = 51820, global = true)]
    pub wg_port: u16,
    /// The hub's private key; made at the first start.
    #[arg(
        long,
        env = "WG_PRIVATE_KEY_FILE",
        default_value = "/var/lib/iot-bridge/hub.key",
        global = true
    )]
    pub wg_private_key_file: PathBuf,
    /// How often the hub is compared with the database, in seconds.
    #[arg(long, env = "RECONCILE_SECONDS", default_value_t = 60, global = true)]
    pub reconcile_seconds: u32,
    /// The owner of the interface.
    #[command(flatten)]
    pub hub: HubSettings,
}

impl NetworkSettings {
    /// Checks the address range.
    pub fn network(&self) -> Result<VpnNetwork, ConfigError> {
        let network = VpnNetwork::new(self.wg_subnet, self.wg_server_ip)
            .map_err(|error| ConfigError::new(format!("`WG_SUBNET` and `WG_SERVER_IP` do not fit: {error}.")))?;
        let Some(prefix) = self.wg_subnet6 else {
            return Ok(network);
        };
        let both = network.beside_ula(prefix);
        both.map_err(|error| ConfigError::new(format!("`WG_SUBNET6` does not fit: {error}.")))
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
        wireguard::private_key(path).map_err(|error| {
            let path = path.display();
            ConfigError::new(format!("`WG_PRIVATE_KEY_FILE` names `{path}`: {error}."))
        })
    }

    /// Checks what the hub of these settings needs to know.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.wg_hub {
            HubKind::Local => self.hub.terminal_uid().map(drop),
            HubKind::Embedded if self.wg_subnet6.is_some() => Err(ConfigError::new(
                "`WG_SUBNET6` needs a hub on an interface; set `WG_HUB` to `local` or `unix:/path`.",
            )),
            HubKind::Embedded | HubKind::Socket(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::config::Config;

    #[test]
    fn an_endpoint_that_is_none_is_refused() {
        let endpoint = |arguments: &[&str]| {
            let config = Config::try_parse_from(["iot-bridge-api"].iter().chain(arguments)).unwrap();
            config.network.endpoint()
        };

        assert_eq!(endpoint(&[]).unwrap().to_string(), "127.0.0.1:51820");
        assert!(endpoint(&["--wg-server-endpoint", "hub.example.com"]).is_err());
    }

    #[test]
    fn ipv6_addresses_need_a_hub_that_has_them() {
        let network = |arguments: &[&str]| {
            let config = Config::try_parse_from(["iot-bridge-api"].iter().chain(arguments)).unwrap();
            config.network.check().and_then(|()| config.network.network())
        };

        let both = network(&["--wg-subnet6", "fd5a::/64", "--wg-hub", "unix:/hub.sock"]).unwrap();
        assert_eq!(both.hub_ip6(), Some("fd5a::a08:1".parse().unwrap()));
        for arguments in [
            &["--wg-subnet6", "fd5a::/64"][..],
            &["--wg-subnet6", "2001:db8::/64", "--wg-hub", "unix:/hub.sock"],
        ] {
            let error = network(arguments).unwrap_err().to_string();
            assert!(error.contains("WG_SUBNET6"), "{error}");
        }
    }
}
