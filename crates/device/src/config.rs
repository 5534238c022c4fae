//! What the `iot-device` program is told: the only file of this crate that reads the environment.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::chassis::config::{ConfigError, LogSettings};
use common::domain::{DeviceId, Digest};
use secrecy::SecretString;
use tokio_tungstenite::tungstenite::http::HeaderName;
use url::Url;
use wireguard::InterfaceName;
use wireguard::quick::HubEndpoint;

use crate::agents::AgentsSettings;
use crate::enroll::{EnrollSettings, Patience, ServerTrust, parse_fingerprint};
use crate::terminal::{Shell, TerminalSettings};
use crate::tunnel::{InterfaceSettings, TunnelKind};

/// Longest token file.
const MAX_TOKEN_BYTES: u64 = 4096;

/// The agent of a device in the field: enrolls it, keeps it in the device network and serves its terminal.
#[derive(Debug, Parser)]
#[command(name = "iot-device", version)]
pub struct Config {
    /// Where the device keeps its identity; mode 0700.
    #[arg(
        long,
        env = "IOT_DEVICE_STATE_DIR",
        default_value = "/var/lib/iot-device",
        global = true
    )]
    pub state_dir: PathBuf,
    /// The log.
    #[command(flatten)]
    pub log: LogSettings,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the agent does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes the device's keys and has the bridge let it in; does nothing when that was done before.
    Enroll(EnrollArgs),
    /// Renews the device's certificate now, whether or not it is time.
    Renew(RenewArgs),
    /// Brings the device into its network and serves its terminal, until a signal ends it.
    Up(UpArgs),
    /// Prints what the device knows about itself, as one JSON object.
    Status,
}

/// How to enroll.
#[derive(Debug, Args)]
pub struct EnrollArgs {
    /// The device's name: 1 to 63 characters of a-z, 0-9 and '-'.
    #[arg(long, env = "IOT_DEVICE_ID")]
    pub id: DeviceId,
    /// The bridge's base address, for example `https://bridge.example:8443`.
    #[arg(long, env = "IOT_DEVICE_BRIDGE_URL")]
    url: Url,
    /// File with the enrollment token; `-` reads it from standard input.
    #[arg(long, env = "IOT_DEVICE_TOKEN_FILE")]
    token_file: PathBuf,
    /// File with the root certificates to believe, PEM.
    #[arg(long, env = "IOT_DEVICE_ROOT_FILE", conflicts_with = "root_fingerprint")]
    root_file: Option<PathBuf>,
    /// SHA-256 of the root certificate to believe, 64 hexadecimal digits.
    #[arg(long, env = "IOT_DEVICE_ROOT_FINGERPRINT", value_parser = |text: &str| parse_fingerprint(text))]
    root_fingerprint: Option<Digest>,
    /// Enrolls also a device that has enrolled before: one that comes back with a return ticket, and keeps its keys.
    #[arg(long)]
    pub again: bool,
    /// What kind of device this is.
    #[arg(long, env = "IOT_DEVICE_TYPE")]
    device_type: Option<String>,
    /// What people call it.
    #[arg(long, env = "IOT_DEVICE_NAME")]
    device_name: Option<String>,
}

impl EnrollArgs {
    /// Reads the files that the arguments name.
    pub fn settings(&self) -> Result<EnrollSettings, ConfigError> {
        let trust = match (&self.root_file, self.root_fingerprint) {
            (Some(path), _) => {
                ServerTrust::Roots(fs::read_to_string(path).map_err(|error| unreadable("--root-file", path, &error))?)
            }
            (None, Some(fingerprint)) => ServerTrust::Fingerprint(fingerprint),
            (None, None) => ServerTrust::Loopback,
        };
        let token =
            read_token(&self.token_file).map_err(|error| unreadable("--token-file", &self.token_file, &error))?;
        Ok(EnrollSettings {
            url: self.url.clone(),
            trust,
            token,
            device_type: self.device_type.clone(),
            device_name: self.device_name.clone(),
            patience: Patience::default(),
        })
    }
}

/// How to renew.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// The bridge's base address, for example `https://bridge.example:8443`.
    #[arg(long, env = "IOT_DEVICE_BRIDGE_URL")]
    pub url: Url,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// The bridge's base address; the certificate is renewed there in time. Without it somebody else does that.
    #[arg(long, env = "IOT_DEVICE_BRIDGE_URL")]
    pub url: Option<Url>,
    /// Where the hub is, instead of the address that came with the enrollment: `HOST:PORT`.
    #[arg(long, env = "IOT_DEVICE_HUB_ENDPOINT")]
    pub hub_endpoint: Option<HubEndpoint>,
    /// What the tunnel is made of.
    #[arg(long, env = "IOT_DEVICE_TUNNEL", value_enum, default_value_t = TunnelChoice::Embedded)]
    tunnel: TunnelChoice,
    /// The tunnel's interface, when it has one.
    #[arg(long, env = "IOT_DEVICE_INTERFACE", default_value = "wg0")]
    interface: InterfaceName,
    /// The program that runs the interface with `--tunnel daemon`.
    #[arg(long, env = "IOT_DEVICE_DAEMON", default_value = "wireguard-go")]
    daemon: PathBuf,
    /// Leaves the terminal to somebody else, such as a genuine ttyd; needs an interface.
    #[arg(long, env = "IOT_DEVICE_NO_TERMINAL")]
    pub no_terminal: bool,
    /// Other programs on the device.
    #[command(flatten)]
    pub beside: Beside,
    /// A program that takes changed files of the folder `agents` over: it is run there, with their names as arguments.
    #[arg(long, env = "IOT_DEVICE_AGENTS_CHANGED")]
    agents_changed: Option<PathBuf>,
    /// How often the bridge is asked what the programs on the device need, in seconds.
    #[arg(long, env = "IOT_DEVICE_AGENTS_SECONDS", default_value_t = 300)]
    agents_seconds: u32,
    /// Header with the operator's name, which the shell finds as `TTYD_USER`; requests without it are refused.
    #[arg(long, env = "IOT_DEVICE_USER_HEADER")]
    user_header: Option<HeaderName>,
    /// How many terminals at once.
    #[arg(long, env = "IOT_DEVICE_MAX_CLIENTS", default_value_t = 16)]
    max_clients: usize,
    /// What a terminal runs, with its arguments; the user's login shell when it is left out.
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Programs on the device that use a tunnel that is inside the agent.
#[derive(Debug, Args)]
pub struct Beside {
    /// A ttyd on this device that serves the terminals instead of the agent, for example `127.0.0.1:7681`.
    #[arg(long, env = "IOT_DEVICE_TTYD", conflicts_with_all = ["user_header", "max_clients", "command"])]
    pub ttyd: Option<SocketAddr>,
    /// Ports of the hub that other programs on this device reach at the same ports of 127.0.0.1, separated by commas;
    /// with a tunnel on an interface they reach the hub itself.
    #[arg(long, env = "IOT_DEVICE_HUB_PORTS", value_delimiter = ',')]
    pub hub_ports: Vec<u16>,
}

/// What a tunnel is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TunnelChoice {
    /// This process: without root and without an interface. Only the agent's own terminal can be reached.
    Embedded,
    /// The kernel's WireGuard, on an interface; needs root.
    Kernel,
    /// A daemon such as `wireguard-go`, on an interface; needs root.
    Daemon,
}

impl UpArgs {
    /// Returns what the tunnel is made of.
    pub fn tunnel(&self) -> Result<TunnelKind, ConfigError> {
        let daemon = match self.tunnel {
            TunnelChoice::Embedded if self.no_terminal => {
                return Err(ConfigError::new(
                    "`IOT_DEVICE_NO_TERMINAL` needs a tunnel on an interface: nothing else can reach an embedded one.",
                ));
            }
            TunnelChoice::Embedded => return Ok(TunnelKind::Embedded),
            TunnelChoice::Kernel | TunnelChoice::Daemon if !self.beside.hub_ports.is_empty() => {
                return Err(ConfigError::new(
                    "`IOT_DEVICE_HUB_PORTS` is for an embedded tunnel: with an interface programs reach the hub itself.",
                ));
            }
            TunnelChoice::Kernel => None,
            TunnelChoice::Daemon => Some(self.daemon.clone()),
        };
        Ok(TunnelKind::Interface(InterfaceSettings {
            name: self.interface.clone(),
            daemon,
        }))
    }

    /// Returns how the files of the other programs are kept.
    pub fn agents(&self, url: &Url) -> AgentsSettings {
        AgentsSettings {
            url: url.clone(),
            changed: self.agents_changed.clone(),
            every: Duration::from_secs(self.agents_seconds.max(1).into()),
        }
    }

    /// Returns how the terminal serves.
    pub fn terminal(&self) -> TerminalSettings {
        let shell = match self.command.split_first() {
            Some((program, arguments)) => Shell::command(program, arguments.to_vec()),
            None => Shell::login(),
        };
        let (user_header, max_clients) = (self.user_header.clone(), self.max_clients);
        TerminalSettings {
            shell,
            user_header,
            max_clients,
            ..TerminalSettings::default()
        }
    }
}

fn read_token(path: &Path) -> io::Result<SecretString> {
    let mut token = String::new();
    if path == Path::new("-") {
        io::stdin().take(MAX_TOKEN_BYTES).read_to_string(&mut token)?;
    } else {
        fs::File::open(path)?.take(MAX_TOKEN_BYTES).read_to_string(&mut token)?;
    }
    Ok(SecretString::from(token.trim()))
}

fn unreadable(setting: &str, path: &Path, error: &io::Error) -> ConfigError {
    ConfigError::new(format!(
        "`{setting}` says {}, but it cannot be read: {}.",
        path.display(),
        error.kind()
    ))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_takes_no_token() {
        Config::command().debug_assert();

        let line = [
            "iot-device",
            "enroll",
            "--id",
            "a",
            "--url",
            "http://[::1]",
            "--token-file",
            "-",
            "--token",
            "secret",
        ];
        assert!(Config::try_parse_from(line).is_err());
    }

    #[test]
    fn what_a_terminal_runs_comes_after_two_dashes() {
        let config = Config::try_parse_from(["iot-device", "up", "--", "bash", "--norc"]).unwrap();

        let Command::Up(up) = config.command else {
            panic!("not up")
        };
        assert_eq!(up.command, ["bash", "--norc"]);
    }

    #[test]
    fn a_token_is_read_without_the_newline_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "ib_secret\n").unwrap();

        let token = read_token(&path).unwrap();

        assert_eq!(secrecy::ExposeSecret::expose_secret(&token), "ib_secret");
    }
}
