//! The hub process without the bridge around it, and the contract of all hubs held against a real
//! interface. For the scenarios in `tests/`; needs root.

use std::error::Error;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::chassis::config::LogFormat;
use common::chassis::problem::error_chain;
use common::chassis::shutdown::Shutdown;
use common::chassis::telemetry;
use common::domain::{VpnNetwork, WireguardKey};
use ipnet::Ipv4Net;
use wireguard::contract::keeps_its_promises;
use wireguard::hub_process::{self, HubOptions};
use wireguard::interface::{FirewallRules, Interface, InterfaceOptions};
use wireguard::{Hub as _, InterfaceName, PeerConfig, SocketHub, private_key};

#[derive(Parser)]
struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Owns the interface and answers on the socket.
    Serve(ServeOptions),
    /// Asks the process behind a socket to have a peer.
    Ensure(EnsureOptions),
    /// Makes an interface, holds it against the contract, and leaves it there.
    Promises(Settings),
}

#[derive(Args)]
struct ServeOptions {
    #[command(flatten)]
    settings: Settings,
    #[arg(long)]
    socket: PathBuf,
    #[arg(long)]
    caller_uid: Vec<u32>,
}

#[derive(Args)]
struct EnsureOptions {
    #[arg(long)]
    socket: PathBuf,
    #[arg(long, default_value = "10.8.0.0/16")]
    subnet: Ipv4Net,
    #[arg(long)]
    key: String,
    #[arg(long)]
    address: Ipv4Addr,
    #[arg(long)]
    endpoint: Option<SocketAddr>,
}

#[derive(Args)]
struct Settings {
    #[arg(long, value_enum)]
    backend: Backend,
    #[arg(long, default_value = "wg0")]
    interface: InterfaceName,
    #[arg(long, default_value = "10.8.0.0/16")]
    subnet: Ipv4Net,
    #[arg(long, default_value_t = 51820)]
    port: u16,
    #[arg(long)]
    private_key_file: PathBuf,
    #[arg(long, default_value_t = 7681)]
    terminal_port: u16,
    #[arg(long, default_value_t = 999)]
    terminal_uid: u32,
    #[arg(long)]
    open_port: Vec<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    Kernel,
    Userspace,
}

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    let result = match config.command {
        Command::Serve(options) => serve(options).await,
        Command::Ensure(options) => ensure(options).await,
        Command::Promises(settings) => promises(settings).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = error_chain(error.as_ref()), "Cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: ServeOptions) -> Result<(), Box<dyn Error>> {
    telemetry::init(LogFormat::Human, "info")?;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let ServeOptions {
        settings,
        socket,
        caller_uid,
    } = options;
    let options = HubOptions {
        private_key_file: settings.private_key_file.clone(),
        interface: settings.interface_options()?,
        socket,
        socket_gid: None,
        caller_uids: caller_uid.into_iter().collect(),
    };
    hub_process::run(options, &shutdown).await?;
    shutdown.finish(Duration::from_secs(5)).await;
    Ok(())
}

async fn ensure(options: EnsureOptions) -> Result<(), Box<dyn Error>> {
    let network = VpnNetwork::new(options.subnet, None)?;
    let address = network
        .device_address(options.address)
        .ok_or("not an address of a device")?;
    let peer = PeerConfig::new(WireguardKey::parse(&options.key)?, address).last_seen_at(options.endpoint);
    Ok(SocketHub::new(options.socket, network).ensure_peers(&[peer]).await?)
}

async fn promises(settings: Settings) -> Result<(), Box<dyn Error>> {
    telemetry::init(LogFormat::Human, "warn")?;
    let options = settings.interface_options()?;
    let network = options.rules.network;
    let mut interface = Interface::new(options, private_key(&settings.private_key_file)?);
    interface.ensure().await?;
    interface.verify().await?;
    let kept = keeps_its_promises(&*interface.hub(), network).await?;
    interface.verify().await?;
    writeln!(std::io::stdout(), "kept {kept} promises")?;
    Ok(())
}

impl Settings {
    fn interface_options(&self) -> Result<InterfaceOptions, Box<dyn Error>> {
        let backend = match self.backend {
            Backend::Kernel => wireguard::Backend::Kernel,
            Backend::Userspace => wireguard::Backend::Userspace,
        };
        Ok(InterfaceOptions {
            backend,
            daemon: "wireguard-go".into(),
            listen_port: self.port,
            rules: FirewallRules {
                interface: self.interface.clone(),
                network: VpnNetwork::new(self.subnet, None)?,
                terminal_port: self.terminal_port,
                terminal_uid: self.terminal_uid,
                open_ports: self.open_port.iter().copied().collect(),
            },
        })
    }
}
