//! The hub of the device network in production: the process that owns it, and the way to it.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::config::ConfigError;
use common::chassis::problem::error_chain;
use common::chassis::shutdown::Shutdown;
use common::domain::{Clock, CurrentNetwork, NetworkPlan as _, VpnNetwork};
use common::store::Store;
use iot_bridge_api::adapters::wireguard::WireguardHub;
use iot_bridge_api::app::Network;
use iot_bridge_api::app::alignment::AlignError;
use iot_bridge_api::app::reconcile::Reconciler;
use iot_bridge_api::config::{Config, HubBackend, HubKind, NetworkSettings};
use wireguard::hub_process::{self, HubOptions};
use wireguard::interface::{FirewallRules, InterfaceOptions};
use wireguard::{Backend, BatchingHub, EmbeddedHub, Hub, HubConfig, SocketHub};

/// What calls that have begun get to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Owns the interface and its rules, and answers on the socket until told to stop.
pub(crate) async fn serve(config: &Config) -> Result<ExitCode, Box<dyn Error>> {
    let network = &config.network;
    let options = HubOptions {
        interface: interface(network)?,
        private_key_file: network.wg_private_key_file.clone(),
        socket: network.hub.wg_hub_socket.clone(),
        socket_gid: network.hub.wg_hub_socket_gid,
        caller_uids: network.hub.caller_uids()?,
    };
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    hub_process::run(options, &shutdown).await?;
    shutdown.finish(DRAIN).await;
    Ok(ExitCode::SUCCESS)
}

/// Returns the hub that the settings name; one that is elsewhere does not have to be there yet.
pub(crate) async fn connect(
    settings: &NetworkSettings,
    network: CurrentNetwork,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Result<Arc<dyn Hub>, Box<dyn Error>> {
    Ok(match &settings.wg_hub {
        HubKind::Embedded => {
            let hub = HubConfig {
                private_key: settings.private_key()?,
                network: network.get(),
                listen: settings.listen(),
                clock,
            };
            let (hub, writer) = BatchingHub::new(Arc::new(EmbeddedHub::start(hub).await?));
            shutdown.spawn(writer.run(shutdown.token()));
            Arc::new(hub)
        }
        HubKind::Local => {
            Arc::new(hub_process::keep(interface(settings)?, &settings.wg_private_key_file, shutdown).await?)
        }
        HubKind::Socket(path) => Arc::new(SocketHub::new(path, network)),
    })
}

/// Compares the hub behind a socket with the database; changes neither. The other kinds of hub live in the bridge's own
/// process and have nothing to be asked for while it is away.
pub(crate) async fn differences(config: &Config, store: &Store) -> Result<Vec<String>, Box<dyn Error>> {
    let HubKind::Socket(path) = &config.network.wg_hub else {
        return Ok(Vec::new());
    };
    let prefixes = store.further_prefixes().await?.into_iter();
    let network = prefixes
        .into_iter()
        .try_fold(config.network.network()?, VpnNetwork::and)?;
    let network = CurrentNetwork::from(network);
    let database = Arc::new(store.clone());
    let hub = WireguardHub::new(Arc::new(SocketHub::new(path, network.clone())), network.clone());
    let members = Arc::new(Network::new(Arc::new(hub), database.clone(), network));
    let reconciler = Reconciler::new(database.clone(), database, members);
    Ok(match reconciler.differences().await {
        Ok(differences) => differences,
        Err(AlignError::Store(error)) => return Err(error.into()),
        Err(AlignError::Upstream(error)) => vec![format!(
            "the hub cannot be compared with the database: {}",
            error_chain(&error)
        )],
    })
}

fn interface(settings: &NetworkSettings) -> Result<InterfaceOptions, ConfigError> {
    let hub = &settings.hub;
    Ok(InterfaceOptions {
        backend: match hub.wg_backend {
            HubBackend::Kernel => Backend::Kernel,
            HubBackend::Userspace => Backend::Userspace,
        },
        daemon: hub.wg_daemon.clone(),
        listen_port: settings.wg_port,
        rules: FirewallRules {
            interface: hub.wg_interface.clone(),
            network: settings.network()?,
            terminal_port: hub.ttyd_port,
            terminal_uid: hub.terminal_uid()?,
            open_ports: hub.wg_open_ports.iter().copied().collect(),
        },
    })
}
