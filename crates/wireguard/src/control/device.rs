//! What the hub needs of an interface, and `wireguard-control` as its implementation.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use common::domain::{Timestamp, VpnAddress, WireguardKey, WireguardPrivateKey};
use ipnet::IpNet;
use rustix::net::{AddressFamily, SocketType, netdevice};
use wireguard_control::{self as control, Device, DeviceUpdate, Key, PeerConfigBuilder};

use super::Backend;
use crate::InterfaceName;
use crate::hub::hosts;

/// One WireGuard interface. Every call blocks, for as long as the other side likes.
pub(crate) trait ControlledDevice: Send + Sync {
    /// Tells this interface from one that takes its place, without reading it.
    fn incarnation(&self) -> io::Result<Incarnation>;

    /// Reads everything.
    fn read(&self) -> io::Result<Reading>;

    /// Makes changes, in order.
    fn change(&self, changes: &[Change]) -> io::Result<()>;

    /// Gives it a key and a UDP port, and takes its peers: their sessions end with another key.
    fn configure(&self, key: &WireguardPrivateKey, port: u16) -> io::Result<()>;
}

/// Which interface it is among all that have had the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Incarnation(pub(crate) u64, pub(crate) i64);

#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    pub(crate) public_key: Option<[u8; 32]>,
    pub(crate) listen_port: Option<u16>,
    pub(crate) peers: Vec<RawPeer>,
}

/// A peer as it was read; its key may be one that no [`WireguardKey`] can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawPeer {
    pub(crate) key: [u8; 32],
    pub(crate) allowed_addresses: Vec<IpNet>,
    pub(crate) last_handshake: Option<Timestamp>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The peer exists and has this address only.
    Put { key: WireguardKey, address: VpnAddress },
    /// The peer is called at this endpoint, now.
    Call { key: WireguardKey, endpoint: SocketAddr },
    /// The peer is not called again.
    LeaveAlone { key: WireguardKey },
    /// The peer does not exist.
    Remove { key: [u8; 32] },
}

/// An interface of the kernel, or of a daemon that speaks WireGuard's text protocol (UAPI).
///
/// `wireguard-control` makes what is missing: an interface, or a daemon without a key. So whatever
/// changes something looks first whether somebody is there. What dies between look and change is
/// found by the reading that follows every change.
#[derive(Debug)]
pub(crate) struct SystemDevice {
    name: control::InterfaceName,
    backend: Backend,
}

impl SystemDevice {
    pub(crate) fn new(name: &InterfaceName, backend: Backend) -> Self {
        let name = name.as_str().parse().expect("our names are a subset of its names");
        Self { name, backend }
    }

    fn backend(&self) -> control::Backend {
        match self.backend {
            Backend::Kernel => control::Backend::Kernel,
            Backend::Userspace => control::Backend::Userspace,
        }
    }

    fn socket(&self) -> PathBuf {
        daemon_socket(&self.name.as_str_lossy())
    }

    fn apply(&self, update: DeviceUpdate) -> io::Result<()> {
        match self.backend {
            Backend::Kernel => self.incarnation().map(drop)?,
            Backend::Userspace => UnixStream::connect(self.socket()).map(drop)?,
        }
        update.apply(&self.name, self.backend())
    }
}

impl ControlledDevice for SystemDevice {
    fn incarnation(&self) -> io::Result<Incarnation> {
        match self.backend {
            // An index is never given twice as long as the namespace exists.
            Backend::Kernel => {
                let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
                let index = netdevice::name_to_index(&socket, &self.name.as_str_lossy())?;
                Ok(Incarnation(index.into(), 0))
            }
            Backend::Userspace => {
                let socket = std::fs::metadata(self.socket())?;
                Ok(Incarnation(socket.ino(), socket.ctime_nsec() ^ socket.ctime()))
            }
        }
    }

    fn read(&self) -> io::Result<Reading> {
        let device = Device::get(&self.name, self.backend())?;
        Ok(Reading {
            public_key: device.public_key.map(|key| key.0),
            listen_port: device.listen_port,
            peers: device.peers.into_iter().map(raw_peer).collect(),
        })
    }

    fn change(&self, changes: &[Change]) -> io::Result<()> {
        let peers: Vec<_> = changes.iter().map(builder).collect();
        self.apply(DeviceUpdate::new().add_peers(&peers))
    }

    fn configure(&self, key: &WireguardPrivateKey, port: u16) -> io::Result<()> {
        let update = DeviceUpdate::new().replace_peers();
        self.apply(update.set_private_key(Key(*key.expose_bytes())).set_listen_port(port))
    }
}

/// Returns where a daemon listens: the folder that `wireguard-control` looks into.
pub(crate) fn daemon_socket(interface: &str) -> PathBuf {
    let folder = ["/var/run/wireguard", "/run/wireguard"]
        .map(Path::new)
        .into_iter()
        .find(|folder| folder.exists());
    folder
        .unwrap_or(Path::new("/var/run/wireguard"))
        .join(format!("{interface}.sock"))
}

fn builder(change: &Change) -> PeerConfigBuilder {
    let peer = |key: &[u8; 32]| PeerConfigBuilder::new(&Key(*key));
    match change {
        Change::Put { key, address } => {
            let put = peer(key.as_bytes()).replace_allowed_ips();
            hosts(*address).fold(put, |put, host| put.add_allowed_ip(host.addr(), host.prefix_len()))
        }
        // Switching keepalives on sends one at once, and that needs a handshake.
        Change::Call { key, endpoint } => peer(key.as_bytes())
            .set_endpoint(*endpoint)
            .set_persistent_keepalive_interval(crate::KEEPALIVE_SECONDS),
        Change::LeaveAlone { key } => peer(key.as_bytes()).unset_persistent_keepalive(),
        Change::Remove { key } => peer(key).remove(),
    }
}

fn raw_peer(peer: control::PeerInfo) -> RawPeer {
    let addresses = peer.config.allowed_ips.iter();
    RawPeer {
        key: peer.config.public_key.0,
        allowed_addresses: addresses
            .filter_map(|allowed| IpNet::new(allowed.address, allowed.cidr).ok())
            .collect(),
        last_handshake: peer.stats.last_handshake_time.map(Timestamp::from),
        endpoint: peer.config.endpoint,
        received_bytes: peer.stats.rx_bytes,
        sent_bytes: peer.stats.tx_bytes,
    }
}

/// Puts the parts of a peer together: the kernel may tell one peer in several messages.
pub(crate) fn merged(parts: impl Iterator<Item = RawPeer>) -> Vec<RawPeer> {
    let mut places: HashMap<[u8; 32], usize> = HashMap::new();
    let mut whole: Vec<RawPeer> = Vec::new();
    for part in parts {
        let Some(place) = places.get(&part.key) else {
            places.insert(part.key, whole.len());
            whole.push(part);
            continue;
        };
        let peer = &mut whole[*place];
        let new = part
            .allowed_addresses
            .into_iter()
            .filter(|address| !peer.allowed_addresses.contains(address));
        let new: Vec<_> = new.collect();
        peer.allowed_addresses.extend(new);
        peer.last_handshake = peer.last_handshake.max(part.last_handshake);
        peer.endpoint = peer.endpoint.or(part.endpoint);
        peer.received_bytes = peer.received_bytes.max(part.received_bytes);
        peer.sent_bytes = peer.sent_bytes.max(part.sent_bytes);
    }
    whole
}
