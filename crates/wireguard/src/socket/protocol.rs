use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use common::domain::{InvalidVpnNetwork, Timestamp, VpnNetwork, WireguardKey};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::hub::{HubError, HubHealth, PeerConfig, PeerFault, PeerStatus, chain};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Question {
    Identity,
    /// `hub` is whom the caller means; another one does nothing.
    Ensure {
        hub: Option<WireguardKey>,
        peers: Vec<Peer>,
    },
    Remove {
        hub: Option<WireguardKey>,
        keys: Vec<WireguardKey>,
    },
    Peers,
    Serve(Network),
    Health,
}

/// The network to serve; checked by the reader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    hub: Ipv4Addr,
    prefixes: Vec<(Ipv4Addr, u8)>,
    #[serde(default)]
    ula: Option<(Ipv6Addr, u8)>,
}

impl From<VpnNetwork> for Network {
    fn from(network: VpnNetwork) -> Self {
        Self {
            hub: network.hub(),
            prefixes: network
                .prefixes()
                .map(|prefix| (prefix.network(), prefix.prefix_len()))
                .collect(),
            ula: network.ula().map(|prefix| (prefix.network(), prefix.prefix_len())),
        }
    }
}

impl Network {
    /// Accepts only what may be a device network.
    pub(super) fn network(&self) -> Result<VpnNetwork, InvalidVpnNetwork> {
        let prefix = |(address, length)| Ipv4Net::new(address, length).map_err(|_| InvalidVpnNetwork::Prefix);
        let mut prefixes = self.prefixes.iter().copied().map(prefix);
        let first = prefixes.next().unwrap_or(Err(InvalidVpnNetwork::Prefix))?;
        let mut first = VpnNetwork::new(first, Some(self.hub))?;
        if let Some((address, length)) = self.ula {
            let ula = Ipv6Net::new(address, length).map_err(|_| InvalidVpnNetwork::Ula)?;
            first = first.beside_ula(ula)?;
        }
        prefixes.try_fold(first, |network, prefix| network.and(prefix?))
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Answer {
    Identity(WireguardKey),
    Done,
    Peers(Vec<Status>),
    Health { identity: WireguardKey, peers: usize },
    Failed(Failure),
}

/// What a peer shall be; its address is proven by the reader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Peer {
    key: WireguardKey,
    address: Ipv4Addr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<SocketAddr>,
}

/// A peer as it is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    key: WireguardKey,
    allowed: Vec<(IpAddr, u8)>,
    /// Milliseconds since 1970.
    handshake_ms: Option<u64>,
    endpoint: Option<SocketAddr>,
    received: u64,
    sent: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Failure {
    Unavailable {
        reason: String,
    },
    WrongIdentity {
        expected: WireguardKey,
        found: WireguardKey,
    },
    NotApplied {
        keys: Vec<WireguardKey>,
    },
    AddressTaken {
        address: Ipv4Addr,
        holder: WireguardKey,
    },
    InvalidPeer {
        key: WireguardKey,
        fault: PeerFault,
    },
}

impl From<&PeerConfig> for Peer {
    fn from(peer: &PeerConfig) -> Self {
        Self {
            key: peer.key,
            address: peer.address.ip(),
            endpoint: peer.endpoint,
        }
    }
}

impl Peer {
    /// Accepts only what a device of this network may be.
    pub(super) fn in_network(&self, network: VpnNetwork) -> Option<PeerConfig> {
        let address = network.device_address(self.address)?;
        Some(PeerConfig::new(self.key, address).last_seen_at(self.endpoint))
    }
}

impl From<&PeerStatus> for Status {
    fn from(status: &PeerStatus) -> Self {
        let since_1970 = |at: Timestamp| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
        Self {
            key: status.key,
            allowed: status
                .allowed_addresses
                .iter()
                .map(|net| (net.addr(), net.prefix_len()))
                .collect(),
            handshake_ms: status.last_handshake.map(since_1970),
            endpoint: status.endpoint,
            received: status.received_bytes,
            sent: status.sent_bytes,
        }
    }
}

/// Turns a list as it was sent into one of peers; nothing if it cannot come from a hub.
pub(super) fn peers(list: Vec<Status>) -> Option<Vec<PeerStatus>> {
    list.into_iter().map(peer).collect()
}

fn peer(status: Status) -> Option<PeerStatus> {
    let allowed = status
        .allowed
        .into_iter()
        .map(|(address, length)| IpNet::new(address, length).ok());
    let at = |since_1970| Timestamp::UNIX_EPOCH.checked_add(Duration::from_millis(since_1970).try_into().ok()?);
    let last_handshake = match status.handshake_ms {
        Some(since_1970) => Some(at(since_1970)?),
        None => None,
    };
    Some(PeerStatus {
        key: status.key,
        allowed_addresses: allowed.collect::<Option<_>>()?,
        last_handshake,
        endpoint: status.endpoint,
        received_bytes: status.received,
        sent_bytes: status.sent,
    })
}

impl From<HubHealth> for Answer {
    fn from(health: HubHealth) -> Self {
        Self::Health {
            identity: health.identity,
            peers: health.peers,
        }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Unavailable { source } => Self::Unavailable {
                reason: chain(source.as_ref()),
            },
            HubError::WrongIdentity { expected, found } => Self::WrongIdentity { expected, found },
            HubError::NotApplied { keys } => Self::NotApplied { keys },
            HubError::AddressTaken { address, holder } => Self::AddressTaken {
                address: address.ip(),
                holder,
            },
            HubError::InvalidPeer { key, fault } => Self::InvalidPeer { key, fault },
        }
    }
}

impl Failure {
    /// Turns it back into what it was.
    pub(super) fn into_error(self, network: VpnNetwork) -> HubError {
        match self {
            Self::Unavailable { reason } => HubError::unavailable(reason),
            Self::WrongIdentity { expected, found } => HubError::WrongIdentity { expected, found },
            Self::NotApplied { keys } => HubError::NotApplied { keys },
            Self::AddressTaken { address, holder } => match network.device_address(address) {
                Some(address) => HubError::AddressTaken { address, holder },
                None => HubError::unavailable("the hub answered about an address of another network"),
            },
            Self::InvalidPeer { key, fault } => HubError::InvalidPeer { key, fault },
        }
    }
}
