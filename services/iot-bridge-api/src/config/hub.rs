//! The hub of the device network: where it is, and what the process that owns its interface needs to know.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use common::chassis::config::ConfigError;
use wireguard::InterfaceName;

/// Where the hub of the device network is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubKind {
    /// In this process, without root: for trying out, because only this process can reach its devices.
    Embedded,
    /// On an interface that this process owns; it has to be root.
    Local,
    /// In the process `iot-bridge-api hub` behind a Unix socket.
    Socket(PathBuf),
}

/// The text names no hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hub is `embedded`, `local` or `unix:` with an absolute path")]
pub struct InvalidHubKind;

impl FromStr for HubKind {
    type Err = InvalidHubKind;

    fn from_str(text: &str) -> Result<Self, InvalidHubKind> {
        match (text, text.strip_prefix("unix:")) {
            ("embedded", _) => Ok(Self::Embedded),
            ("local", _) => Ok(Self::Local),
            (_, Some(path)) if path.starts_with('/') => Ok(Self::Socket(path.into())),
            _ => Err(InvalidHubKind),
        }
    }
}

impl fmt::Display for HubKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => formatter.write_str("embedded"),
            Self::Local => formatter.write_str("local"),
            Self::Socket(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// Who runs the hub's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HubBackend {
    /// The kernel.
    Kernel,
    /// A daemon such as `wireguard-go`, where the kernel has no WireGuard: for small fleets.
    Userspace,
}

/// What the owner of the hub's interface needs to know: `iot-bridge-api hub`, or the bridge with `WG_HUB=local`.
#[derive(Debug, Args)]
pub struct HubSettings {
    /// The hub's network interface; it belongs to the hub alone.
    #[arg(long, env = "WG_INTERFACE", default_value = "wg0", global = true)]
    pub wg_interface: InterfaceName,
    /// Who runs the interface.
    #[arg(long, env = "WG_BACKEND", value_enum, default_value_t = HubBackend::Kernel, global = true)]
    pub wg_backend: HubBackend,
    /// The program of the userspace backend; it speaks WireGuard's UAPI below `/var/run/wireguard`.
    #[arg(long, env = "WG_DAEMON", default_value = "wireguard-go", global = true)]
    pub wg_daemon: PathBuf,
    /// Where `iot-bridge-api hub` answers; its folder has to exist.
    #[arg(
        long,
        env = "WG_HUB_SOCKET",
        default_value = "/run/iot-bridge/hub.sock",
        global = true
    )]
    pub wg_hub_socket: PathBuf,
    /// The number of the group that may open the socket; the hub's own group unless set.
    #[arg(long, env = "WG_HUB_SOCKET_GID", global = true)]
    pub wg_hub_socket_gid: Option<u32>,
    /// The numbers of the users whose processes `iot-bridge-api hub` answers, separated by commas: the bridge's.
    #[arg(long, env = "WG_HUB_CALLER_UIDS", value_delimiter = ',', global = true)]
    pub wg_hub_caller_uids: Vec<u32>,
    /// The number of the only user who may open connections to devices: terminal-proxy's.
    #[arg(long, env = "WG_TERMINAL_UID", global = true)]
    pub wg_terminal_uid: Option<u32>,
    /// The port of ttyd on devices, the only one that may be reached.
    #[arg(long, env = "TTYD_PORT", default_value_t = 7681, global = true)]
    pub ttyd_port: u16,
    /// The hub's TCP ports that devices may reach, separated by commas; for example `8086` for a metrics store.
    #[arg(long, env = "WG_OPEN_PORTS", value_delimiter = ',', global = true)]
    pub wg_open_ports: Vec<u16>,
}

impl HubSettings {
    /// Returns who may open connections to devices.
    pub fn terminal_uid(&self) -> Result<u32, ConfigError> {
        self.wg_terminal_uid.ok_or_else(|| {
            ConfigError::new(
                "`WG_TERMINAL_UID` is missing: the number of the user that terminal-proxy runs as; nobody else may \
                 open connections to devices.",
            )
        })
    }

    /// Returns who may ask the hub.
    pub fn caller_uids(&self) -> Result<BTreeSet<u32>, ConfigError> {
        if self.wg_hub_caller_uids.is_empty() {
            return Err(ConfigError::new(
                "`WG_HUB_CALLER_UIDS` is missing: the number of the user that the bridge runs as.",
            ));
        }
        Ok(self.wg_hub_caller_uids.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_named_in_three_ways() {
        for text in ["embedded", "local", "unix:/run/iot-bridge/hub.sock"] {
            assert_eq!(text.parse::<HubKind>().unwrap().to_string(), text);
        }
        for text in ["", "kernel", "unix:", "unix:hub.sock", "tcp:127.0.0.1:1"] {
            assert_eq!(text.parse::<HubKind>(), Err(InvalidHubKind), "{text}");
        }
    }
}
