//! The hub's network interface and what may pass through it: made, kept, and checked.
//!
//! Addresses, links and rules are set by `ip` and `nft`, with fixed arguments: six commands that an
//! operator would type, with messages that an operator knows, instead of a netlink library for each.
//! What WireGuard itself has to know goes through [`ControlHub`].

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use common::domain::{VpnNetwork, WireguardPrivateKey};
use ipnet::Ipv4Net;
use tracing::{error, warn};

use crate::control::{Backend, ControlHub, Incarnation};
use crate::hub::HubError;

mod daemon;
mod firewall;
mod link;
mod tool;

use daemon::Daemon;
use firewall::Firewall;
pub use firewall::FirewallRules;
use link::Link;
pub use tool::ToolError;

/// More repairs than a bring-up needs: something undoes them.
const MOST_REPAIRS: usize = 16;

/// Whether the kernel passes packets on from one interface to another. IPv6 may not be there at all.
const FORWARDING: [&str; 2] = [
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/forwarding",
];

/// What is wrong with the interface, in the order in which it is put right: nothing passes before the
/// rules are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Devices could be reached from elsewhere, and each other.
    #[error("the kernel forwards packets")]
    Forwarding,
    /// They were not loaded yet, or somebody has changed them.
    #[error("the firewall's rules are not as they were loaded")]
    Rules,
    /// It was not started yet, or has ended.
    #[error("the WireGuard daemon does not run")]
    NoDaemon,
    /// It was not made yet, or somebody has deleted it.
    #[error("there is no interface")]
    NoInterface,
    /// Something else has its name.
    #[error("the interface is not one of the kernel's WireGuard")]
    NotWireguard,
    /// The daemon is there and says nothing.
    #[error("the interface cannot be read")]
    Mute,
    /// It is new, or somebody has changed it.
    #[error("the interface has not the hub's key and port")]
    Configuration,
    /// It is down, or its addresses or its packet size are not ours.
    #[error("the interface is down, or its address is not the hub's")]
    NotReady,
}

/// Why the interface is not up.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// The rules did not load; the interface is down.
    #[error("the firewall's rules cannot be loaded")]
    Firewall(#[source] ToolError),
    /// `ip` did not do what it should.
    #[error("the interface cannot be set up")]
    Link(#[from] ToolError),
    /// The kernel's settings cannot be written.
    #[error("forwarding cannot be switched off")]
    Forwarding(#[source] io::Error),
    /// The daemon does not start.
    #[error("the WireGuard daemon cannot be started")]
    Daemon(#[source] io::Error),
    /// The interface does not take its key.
    #[error("the interface cannot be configured")]
    Configuration(#[from] HubError),
    /// The machine has it on another interface.
    #[error("the prefix {0} is in use elsewhere on this machine")]
    InUse(Ipv4Net),
    /// Something undoes every repair.
    #[error("it does not stay repaired: {0}")]
    Recurring(Fault),
}

/// How the interface shall be.
#[derive(Debug, Clone)]
pub struct InterfaceOptions {
    /// Who runs it.
    pub backend: Backend,
    /// The program of the userspace backend.
    pub daemon: PathBuf,
    /// The UDP port for devices.
    pub listen_port: u16,
    /// The interface's name, its network, and who may speak to whom.
    pub rules: FirewallRules,
}

/// The hub's interface. There is one in a network namespace, and the namespace is its own.
#[derive(Debug)]
pub struct Interface {
    options: InterfaceOptions,
    key: Arc<WireguardPrivateKey>,
    control: Arc<ControlHub>,
    firewall: Firewall,
    daemon: Option<Daemon>,
    /// The interface whose key was found to be right.
    configured: Option<Incarnation>,
}

impl Interface {
    /// Describes an interface; nothing is made yet.
    pub fn new(options: InterfaceOptions, key: WireguardPrivateKey) -> Self {
        let control = ControlHub::new(&options.rules.interface, options.backend, key.public_key());
        Self {
            firewall: Firewall::new(options.rules.clone()),
            options,
            key: Arc::new(key),
            control: Arc::new(control),
            daemon: None,
            configured: None,
        }
    }

    /// Returns the hub on this interface.
    pub fn hub(&self) -> Arc<ControlHub> {
        Arc::clone(&self.control)
    }

    /// Serves other addresses from now on, once it is [ensured](Self::ensure) again. No prefix may be in use elsewhere on
    /// this machine: whoever asks for peers must not draw other traffic into the tunnel.
    pub async fn serve(&mut self, network: VpnNetwork) -> Result<(), InterfaceError> {
        for prefix in network.further_prefixes() {
            if Link::is_elsewhere(&self.options.rules.interface, prefix).await? {
                return Err(InterfaceError::InUse(prefix));
            }
        }
        self.options.rules.network = network;
        self.firewall.change(self.options.rules.clone());
        Ok(())
    }

    /// Returns the network that it serves.
    pub fn network(&self) -> VpnNetwork {
        self.options.rules.network
    }

    /// Makes the next check read the key again, and not only look whether it is the same interface.
    pub fn suspect(&mut self) {
        self.configured = None;
    }

    /// Looks for what is wrong, and changes nothing.
    pub async fn verify(&mut self) -> Result<(), Fault> {
        if FORWARDING
            .iter()
            .any(|path| fs::read_to_string(path).is_ok_and(|text| text.trim() != "0"))
        {
            return Err(Fault::Forwarding);
        }
        if !self.firewall.is_loaded().await {
            return Err(Fault::Rules);
        }
        if self.options.backend == Backend::Userspace && !self.daemon.as_mut().is_some_and(Daemon::is_running) {
            return Err(Fault::NoDaemon);
        }
        let link = self.link().await?;
        if self.options.backend == Backend::Kernel && !link.is_wireguard() {
            return Err(Fault::NotWireguard);
        }
        let incarnation = self.control.incarnation();
        if incarnation.is_none() || self.configured != incarnation {
            let is_configured = self.control.is_configured(self.options.listen_port).await;
            if !is_configured.map_err(|_| Fault::Mute)? {
                return Err(Fault::Configuration);
            }
            self.configured = incarnation;
        }
        if link.is_ready(self.options.rules.network) {
            Ok(())
        } else {
            Err(Fault::NotReady)
        }
    }

    /// Puts right what is wrong, and returns what it was.
    pub async fn ensure(&mut self) -> Result<Vec<Fault>, InterfaceError> {
        let mut repaired = Vec::new();
        while let Err(fault) = self.verify().await {
            if repaired.len() == MOST_REPAIRS {
                return Err(InterfaceError::Recurring(fault));
            }
            self.repair(fault).await?;
            repaired.push(fault);
        }
        // It was down, and has its peers but no sessions. A new one gets its peers from the reconciler.
        if repaired.contains(&Fault::NotReady)
            && let Err(failure) = self.control.call_peers().await
        {
            warn!(error = %failure, "The peers of the hub's interface were not called");
        }
        Ok(repaired)
    }

    /// Waits until something happens that certainly needs a repair.
    pub async fn broken(&mut self) {
        let Some(daemon) = &mut self.daemon else {
            return std::future::pending().await;
        };
        drop(daemon.ended().await);
        self.daemon = None; // said once
    }

    async fn repair(&mut self, fault: Fault) -> Result<(), InterfaceError> {
        let name = &self.options.rules.interface;
        match fault {
            Fault::Forwarding => forbid_forwarding().map_err(InterfaceError::Forwarding),
            Fault::Rules => self.load_rules().await,
            Fault::NoInterface if self.options.backend == Backend::Kernel => Ok(Link::add(name).await?),
            Fault::NotWireguard => Ok(Link::delete(name).await?),
            Fault::Mute if self.options.backend == Backend::Kernel => {
                self.control.is_configured(self.options.listen_port).await?;
                Ok(())
            }
            Fault::NoDaemon | Fault::NoInterface | Fault::Mute => self.start_daemon().await,
            Fault::Configuration => {
                let (key, port) = (Arc::clone(&self.key), self.options.listen_port);
                Ok(self.control.configure(key, port).await?)
            }
            Fault::NotReady => match Link::find(name).await? {
                Some(link) => Ok(link.make_ready(self.options.rules.network).await?),
                None => Ok(()),
            },
        }
    }

    async fn load_rules(&mut self) -> Result<(), InterfaceError> {
        let Err(failure) = self.firewall.load().await else {
            return Ok(());
        };
        // Without rules nothing may pass. If it cannot be taken down either, it is gone or the machine is lost.
        let name = &self.options.rules.interface;
        if let Ok(Some(_)) = Link::find(name).await
            && let Err(failure) = Link::take_down(name).await
        {
            error!(error = %failure, "The interface `{name}` is up without its firewall, and cannot be taken down");
        }
        Err(InterfaceError::Firewall(failure))
    }

    /// Ends whatever has the interface's name, and makes it anew.
    async fn start_daemon(&mut self) -> Result<(), InterfaceError> {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill().await.map_err(InterfaceError::Daemon)?;
        }
        let name = &self.options.rules.interface;
        if Link::find(name).await?.is_some() {
            Link::delete(name).await?;
        }
        let daemon = Daemon::start(&self.options.daemon, name)
            .await
            .map_err(InterfaceError::Daemon)?;
        self.daemon = Some(daemon);
        Ok(())
    }

    async fn link(&self) -> Result<Link, Fault> {
        // If it cannot be looked for, the attempt to make it says why.
        let link = Link::find(&self.options.rules.interface).await;
        link.ok().flatten().ok_or(Fault::NoInterface)
    }
}

fn forbid_forwarding() -> io::Result<()> {
    for path in FORWARDING.into_iter().filter(|path| fs::exists(path).unwrap_or(true)) {
        fs::write(path, "0")?;
    }
    Ok(())
}
