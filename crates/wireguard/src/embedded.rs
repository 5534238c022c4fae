use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::domain::{Clock, Timestamp, VpnAddress, VpnNetwork, WireguardKey, WireguardPrivateKey};
use gotatun::device::configure::{DeviceWrite, PeerMut, PeerStats};
use gotatun::x25519::PublicKey;
use ipnet::IpNet;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout_at};

use crate::hub::dump::Dump;
use crate::hub::rules::{check, differing, not_applied};
use crate::hub::{Hub, HubError, HubHealth, PeerConfig, PeerStatus};
use crate::stack::TunnelStream;
use crate::tunnel::{Tunnel, TunnelError, peer};

/// How often a dialler looks whether a device that has not been seen yet has appeared.
const APPEARANCE_LOOK: Duration = Duration::from_millis(50);

/// What a hub inside this process needs.
pub struct HubConfig {
    /// The hub's key; its public half is the hub's identity.
    pub private_key: WireguardPrivateKey,
    /// The network and the hub's address in it.
    pub network: VpnNetwork,
    /// Where devices send their UDP packets; port 0 lets the operating system choose.
    pub listen: SocketAddr,
    /// Turns the age of a handshake into its time.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for HubConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HubConfig")
            .field("network", &self.network)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// A hub inside this process: quickstart's, and the tests'. Dropping it ends it.
///
/// It costs about 30 kB a peer, and memory is its limit: production uses the kernel's WireGuard. The
/// crate's documentation says how it keeps devices apart.
pub struct EmbeddedHub {
    tunnel: Tunnel,
    identity: WireguardKey,
    clock: Arc<dyn Clock>,
    /// Whoever changes the peers, or relies on them, holds the lock.
    memory: Mutex<Memory>,
}

/// What the hub knows of its peers. Nobody else has the device, so this is how it is: to list a thousand peers for
/// every one that is added would cost more than the rest of an enrollment.
#[derive(Default)]
struct Memory {
    /// When each peer's last handshake was: gotatun forgets it when the session lapses, after three minutes.
    handshakes: HashMap<WireguardKey, Timestamp>,
    /// The peers with their addresses; what was seen of them is as old as the last listing.
    peers: Dump,
    /// A change was begun and not finished: only a listing tells.
    is_doubtful: bool,
}

/// Why a device could not be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// No peer of the hub has this address.
    #[error("no device of the network has this address")]
    UnknownAddress,
    /// The device is away.
    #[error("the device did not answer in time")]
    NoAnswer,
    /// The device is there and nothing listens on the port.
    #[error("the device refused the connection")]
    Refused,
    /// The hub has been closed, or has no port left for another connection.
    #[error("the hub cannot open a connection")]
    Unavailable,
}

impl fmt::Debug for EmbeddedHub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EmbeddedHub")
            .field("identity", &self.identity)
            .field("tunnel", &self.tunnel)
            .finish_non_exhaustive()
    }
}

impl EmbeddedHub {
    /// Starts a hub without peers.
    pub async fn start(config: HubConfig) -> Result<Self, TunnelError> {
        let tunnel = Tunnel::start(&config.private_key, config.network.hub(), config.listen).await?;
        Ok(Self {
            tunnel,
            identity: config.private_key.public_key(),
            clock: config.clock,
            memory: Mutex::default(),
        })
    }

    /// Returns the UDP address that the hub listens on.
    pub fn listen_address(&self) -> SocketAddr {
        self.tunnel.local_address()
    }

    /// Connects to a port of a device; one that is not there yet may still appear before the deadline.
    pub async fn dial(&self, address: VpnAddress, port: u16, deadline: Instant) -> Result<TunnelStream, DialError> {
        let connect = async {
            let mut stream = self.begin_to_dial(address, port).await?;
            stream.connected().await.map_err(|_| DialError::Refused)?;
            Ok(stream)
        };
        timeout_at(deadline, connect).await.unwrap_or(Err(DialError::NoAnswer))
    }

    /// Returns how many packets devices have sent to anything but the hub; they are dropped.
    pub fn refused_packets(&self) -> u64 {
        self.tunnel.stack.refused_packets()
    }

    /// Resets every connection and gives the UDP port back.
    pub async fn close(&self) {
        self.tunnel.close().await;
    }

    async fn begin_to_dial(&self, address: VpnAddress, port: u16) -> Result<TunnelStream, DialError> {
        loop {
            // Held until the connection exists, so that who removes the peer finds it and resets it.
            let mut memory = self.memory.lock().await;
            let peers = self.list(&mut memory).await;
            let [holder] = peers.holders(address.ip()) else {
                return Err(DialError::UnknownAddress);
            };
            // Without an endpoint every packet would be lost, so the first one waits for it.
            if peers.get(holder).ok_or(DialError::UnknownAddress)?.endpoint.is_some() {
                let remote = SocketAddrV4::new(address.ip(), port);
                return self.tunnel.stack.connect(remote).map_err(|_| DialError::Unavailable);
            }
            drop(memory);
            sleep(APPEARANCE_LOOK).await;
        }
    }

    async fn list<'a>(&self, memory: &'a mut Memory) -> &'a Dump {
        let now = self.clock.now();
        let Memory {
            handshakes,
            peers,
            is_doubtful,
        } = memory;
        *is_doubtful = true;
        peers.clear();
        for stats in self.tunnel.wireguard.peers().await {
            let Ok(key) = WireguardKey::from_bytes(stats.peer.public_key.to_bytes()) else {
                continue; // cannot be: every key went in as a WireguardKey
            };
            if let Some(age) = stats.stats.last_handshake {
                handshakes.insert(key, now - age);
            }
            peers.insert(status(key, stats, handshakes.get(&key).copied()));
        }
        handshakes.retain(|key, _| peers.get(key).is_some());
        *is_doubtful = false;
        peers
    }

    async fn lock(&self) -> MutexGuard<'_, Memory> {
        let mut memory = self.memory.lock().await;
        if memory.is_doubtful {
            self.list(&mut memory).await;
        }
        memory
    }

    /// Adds new peers, and moves known ones to another address. Returns those that are not there now.
    async fn apply(&self, changes: &[PeerConfig]) -> Result<Vec<PeerConfig>, HubError> {
        let write = async |device: &mut DeviceWrite<'_, _>| {
            // All addresses are given up before any is taken, so that two peers can exchange theirs.
            for change in changes {
                let key = PublicKey::from(*change.key.as_bytes());
                device.modify_peer(&key, PeerMut::clear_allowed_ips).await;
            }
            let mut missing = Vec::new();
            for change in changes {
                let key = PublicKey::from(*change.key.as_bytes());
                let address = change.address.ip();
                let update = |peer: &mut PeerMut| peer.add_allowed_ip(IpAddr::V4(address));
                // An update keeps the session and the endpoint.
                if !device.modify_peer(&key, update).await {
                    let mut new = peer(&change.key, address);
                    new.endpoint = change.endpoint;
                    if !device.add_peer(new) {
                        missing.push(*change);
                    }
                }
            }
            missing
        };
        self.tunnel.wireguard.write(write).await.map_err(HubError::unavailable)
    }

    fn abort_connections_with(&self, peer: Option<&PeerStatus>) {
        for allowed in peer.into_iter().flat_map(|peer| &peer.allowed_addresses) {
            if let IpNet::V4(network) = allowed {
                self.tunnel.stack.abort_connections_with(network.addr());
            }
        }
    }
}

#[async_trait]
impl Hub for EmbeddedHub {
    async fn identity(&self) -> Result<WireguardKey, HubError> {
        Ok(self.identity)
    }

    async fn ensure_peers(&self, peers: &[PeerConfig]) -> Result<(), HubError> {
        let mut memory = self.lock().await;
        check(peers, &self.identity, &memory.peers)?;
        let changes = differing(peers, &memory.peers);
        if changes.is_empty() {
            return Ok(());
        }
        for change in &changes {
            self.abort_connections_with(memory.peers.get(&change.key));
        }
        memory.is_doubtful = true;
        let missing = self.apply(&changes).await?;
        for change in &changes {
            let known = memory.peers.remove(&change.key);
            memory.peers.insert(placed(*change, known));
        }
        for change in &missing {
            memory.peers.remove(&change.key);
        }
        memory.is_doubtful = false;
        not_applied(&differing(peers, &memory.peers))
    }

    async fn remove_peers(&self, keys: &[WireguardKey]) -> Result<(), HubError> {
        let mut memory = self.lock().await;
        memory.is_doubtful = true;
        for key in keys {
            self.abort_connections_with(memory.peers.get(key));
        }
        let write = async |device: &mut DeviceWrite<'_, _>| {
            for key in keys {
                device.remove_peer(&PublicKey::from(*key.as_bytes())).await;
            }
        };
        self.tunnel
            .wireguard
            .write(write)
            .await
            .map_err(HubError::unavailable)?;
        for key in keys {
            memory.peers.remove(key);
            memory.handshakes.remove(key);
        }
        memory.is_doubtful = false;
        Ok(())
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, HubError> {
        let mut memory = self.memory.lock().await;
        Ok(self.list(&mut memory).await.values().cloned().collect())
    }

    /// Its own stack takes every address of a peer.
    async fn serve(&self, _network: VpnNetwork) -> Result<(), HubError> {
        Ok(())
    }

    async fn health(&self) -> Result<HubHealth, HubError> {
        let peers = self.lock().await.peers.len();
        let identity = self.identity;
        Ok(HubHealth { identity, peers })
    }
}

/// Describes a peer that was just given an address.
fn placed(change: PeerConfig, known: Option<PeerStatus>) -> PeerStatus {
    let allowed_addresses = vec![IpNet::from(IpAddr::V4(change.address.ip()))];
    match known {
        Some(known) => PeerStatus {
            allowed_addresses,
            ..known
        },
        None => PeerStatus {
            key: change.key,
            allowed_addresses,
            last_handshake: None,
            endpoint: change.endpoint,
            received_bytes: 0,
            sent_bytes: 0,
        },
    }
}

fn status(key: WireguardKey, stats: PeerStats, last_handshake: Option<Timestamp>) -> PeerStatus {
    let PeerStats { peer, stats, .. } = stats;
    let allowed = peer.allowed_ips.iter();
    PeerStatus {
        key,
        allowed_addresses: allowed
            .filter_map(|allowed| IpNet::new(allowed.ip(), allowed.prefix()).ok())
            .collect(),
        last_handshake,
        endpoint: peer.endpoint,
        received_bytes: stats.rx_bytes.try_into().unwrap_or(u64::MAX),
        sent_bytes: stats.tx_bytes.try_into().unwrap_or(u64::MAX),
    }
}
