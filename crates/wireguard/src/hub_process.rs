//! The one process that may touch the hub's interface and its firewall, and does nothing else: it runs
//! as root with `CAP_NET_ADMIN`, makes the interface, keeps it as it should be, and answers a few
//! questions on a Unix socket. Whoever serves the network has neither the right nor the socket.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::chassis::shutdown::Shutdown;
use common::domain::{CurrentNetwork, VpnNetwork, WireguardKey};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use crate::batching::BatchingHub;
use crate::control::ControlHub;
use crate::hub::{Hub, HubError, HubHealth, PeerConfig, PeerStatus, chain};
use crate::interface::{Fault, Interface, InterfaceError, InterfaceOptions};
use crate::key_file::{KeyFileError, private_key};
use crate::socket::{Callers, HubSocket};

/// How often the interface and the rules are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// At every so-manieth look the interface's key is read as well, which costs a list of all peers.
const LOOKS_PER_READING: u32 = 10;

/// How long a change of the network may take.
const SERVE: Duration = Duration::from_secs(5);

/// What the hub process needs to know.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// The interface and its rules.
    pub interface: InterfaceOptions,
    /// The hub's private key; made at the first start.
    pub private_key_file: PathBuf,
    /// Where to answer.
    pub socket: PathBuf,
    /// The group whose processes may open the socket; the process's own unless set.
    pub socket_gid: Option<u32>,
    /// The users whose processes get an answer.
    pub caller_uids: BTreeSet<u32>,
}

/// Why the hub process cannot work.
#[derive(Debug, thiserror::Error)]
pub enum HubProcessError {
    /// There is no private key.
    #[error("the hub has no private key")]
    Key(#[from] KeyFileError),
    /// The interface does not come up.
    #[error("the hub's interface does not come up")]
    Interface(#[from] InterfaceError),
    /// Nobody could ask.
    #[error("the hub's socket cannot be made")]
    Socket(#[source] io::Error),
}

/// Brings the interface up, and answers on the socket until the process drains.
pub async fn run(options: HubOptions, shutdown: &Shutdown) -> Result<(), HubProcessError> {
    let (hub, keeper) = start(options.interface, &options.private_key_file, shutdown).await?;
    let callers = Callers {
        uids: options.caller_uids,
        network: keeper.network.clone(),
    };
    let socket = HubSocket::bind(&options.socket, options.socket_gid)
        .await
        .map_err(HubProcessError::Socket)?;
    socket.serve(Arc::new(hub), callers, shutdown);
    info!(socket = %options.socket.display(), "The hub answers on `{}`", options.socket.display());
    keeper.run(shutdown.token()).await;
    Ok(())
}

/// Brings the interface up and looks after it in this process, until it drains: for one machine on which the bridge
/// itself is root.
pub async fn keep(
    options: InterfaceOptions,
    private_key_file: &Path,
    shutdown: &Shutdown,
) -> Result<BatchingHub, HubProcessError> {
    let (hub, keeper) = start(options, private_key_file, shutdown).await?;
    shutdown.spawn(keeper.run(shutdown.token()));
    Ok(hub)
}

async fn start(
    options: InterfaceOptions,
    private_key_file: &Path,
    shutdown: &Shutdown,
) -> Result<(BatchingHub, Keeper), HubProcessError> {
    let mut interface = Interface::new(options, private_key(private_key_file)?);
    interface.ensure().await?;
    let (condition, up) = watch::channel(Ok(()));
    let (wishes, inbox) = mpsc::channel(1);
    let attention = Arc::new(Notify::new());
    let network = CurrentNetwork::from(interface.network());
    let hub = KeptHub {
        control: interface.hub(),
        up,
        attention: Arc::clone(&attention),
        network: network.clone(),
        wishes,
    };
    let (hub, writer) = BatchingHub::new(Arc::new(hub));
    shutdown.spawn(writer.run(shutdown.token()));
    Ok((
        hub,
        Keeper {
            interface,
            condition,
            attention,
            network,
            inbox,
        },
    ))
}

/// The one who looks after the interface.
struct Keeper {
    interface: Interface,
    condition: watch::Sender<Result<(), String>>,
    attention: Arc<Notify>,
    network: CurrentNetwork,
    inbox: mpsc::Receiver<Wish>,
}

/// Another network to serve, and where to say how that went.
type Wish = (VpnNetwork, oneshot::Sender<Result<(), String>>);

impl Keeper {
    async fn run(mut self, stop: tokio_util::sync::CancellationToken) {
        let mut timer = interval(LOOK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for look in 1_u32.. {
            let is_suspect = tokio::select! {
                _ = timer.tick() => look.is_multiple_of(LOOKS_PER_READING),
                () = self.attention.notified() => true,
                () = self.interface.broken() => true,
                Some((network, answer)) = self.inbox.recv() => {
                    drop(answer.send(self.serve(network).await)); // whoever has gone does not care
                    true
                }
                () = stop.cancelled() => return,
            };
            if is_suspect {
                self.interface.suspect();
            }
            let condition = self.look_after_it().await;
            self.condition.send_if_modified(|before| {
                let is_new = *before != condition;
                *before = condition;
                is_new
            });
        }
    }

    /// Changes the network; its addresses are given out only when the rules and routes are there.
    async fn serve(&mut self, network: VpnNetwork) -> Result<(), String> {
        let served = self.interface.serve(network).await;
        served.map_err(|failure| chain(&failure))?;
        let ready = self.interface.ensure().await; // nobody has tampered: what differs now is what was asked for
        ready.map_err(|failure| chain(&failure))?;
        self.network.set(network);
        info!("Serves {} prefixes", network.prefixes().count());
        Ok(())
    }

    async fn look_after_it(&mut self) -> Result<(), String> {
        match self.interface.ensure().await {
            Ok(repaired) => {
                report(&repaired);
                Ok(())
            }
            Err(failure) => {
                let words = chain(&failure);
                error!(error = words, "The hub's interface is not up");
                Err(words)
            }
        }
    }
}

/// Says what was wrong; loudly, if it was somebody's doing and not a daemon that had ended.
fn report(repaired: &[Fault]) {
    let is_new = repaired
        .iter()
        .any(|fault| matches!(fault, Fault::NoDaemon | Fault::NoInterface | Fault::Mute));
    for fault in repaired {
        let is_tampering = match fault {
            Fault::Rules | Fault::Forwarding | Fault::NotWireguard => true,
            Fault::Configuration | Fault::NotReady => !is_new,
            Fault::NoDaemon | Fault::NoInterface | Fault::Mute => false,
        };
        if is_tampering {
            error!(%fault, "Somebody has changed the hub's interface; repaired: {fault}");
        } else {
            warn!(%fault, "Repaired the hub's interface: {fault}");
        }
    }
}

/// A hub that answers only while its interface is as it should be.
struct KeptHub {
    control: Arc<ControlHub>,
    up: watch::Receiver<Result<(), String>>,
    attention: Arc<Notify>,
    network: CurrentNetwork,
    wishes: mpsc::Sender<Wish>,
}

impl KeptHub {
    async fn ask<T>(&self, answer: impl Future<Output = Result<T, HubError>>) -> Result<T, HubError> {
        if let Err(reason) = &*self.up.borrow() {
            return Err(HubError::unavailable(format!("the interface is not up: {reason}")));
        }
        let answer = answer.await;
        if matches!(
            answer,
            Err(HubError::Unavailable { .. } | HubError::WrongIdentity { .. })
        ) {
            self.attention.notify_one();
        }
        answer
    }
}

#[async_trait]
impl Hub for KeptHub {
    async fn identity(&self) -> Result<WireguardKey, HubError> {
        self.ask(self.control.identity()).await
    }

    async fn ensure_peers(&self, peers: &[PeerConfig]) -> Result<(), HubError> {
        self.ask(self.control.ensure_peers(peers)).await
    }

    async fn remove_peers(&self, keys: &[WireguardKey]) -> Result<(), HubError> {
        self.ask(self.control.remove_peers(keys)).await
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, HubError> {
        self.ask(self.control.peers()).await
    }

    async fn serve(&self, network: VpnNetwork) -> Result<(), HubError> {
        let current = self.network.get();
        if network == current {
            return Ok(());
        }
        let base = |network: &VpnNetwork| (network.hub(), network.prefix(), network.ula());
        if base(&network) != base(&current) {
            return Err(HubError::unavailable(
                "`WG_SUBNET`, `WG_SUBNET6` or `WG_SERVER_IP` of the hub and of its caller are not the same",
            ));
        }
        let (answer, answered) = oneshot::channel();
        let told = async {
            self.wishes
                .send((network, answer))
                .await
                .map_err(HubError::unavailable)?;
            answered.await.map_err(HubError::unavailable)
        };
        let told = timeout(SERVE, told).await.map_err(HubError::unavailable)?;
        told?.map_err(HubError::unavailable)
    }

    async fn health(&self) -> Result<HubHealth, HubError> {
        self.ask(self.control.health()).await
    }
}
