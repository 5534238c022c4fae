use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::domain::{Timestamp, VpnNetwork, WireguardKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::hub::{HubError, HubHealth, PeerConfig, PeerFault, PeerStatus, chain};
use crate::keys::CheckedKeys;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Question {
    Identity,
    Ensure(Vec<Peer>),
    Remove(Vec<WireguardKey>),
    Peers,
    Health,
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

/// A peer as it is; its key is checked by the reader, who may have done so before.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    key: RawKey,
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

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct RawKey([u8; 32]);

impl TryFrom<String> for RawKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD.decode(text).map_err(|_| "not base64")?;
        bytes.try_into().map(Self).map_err(|_| "not 32 bytes")
    }
}

impl From<RawKey> for String {
    fn from(key: RawKey) -> Self {
        STANDARD.encode(key.0)
    }
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
            key: RawKey(*status.key.as_bytes()),
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
pub(super) fn peers(list: Vec<Status>, keys: &mut CheckedKeys) -> Option<Vec<PeerStatus>> {
    let checked = keys.check(list.iter().map(|status| status.key.0));
    list.into_iter()
        .zip(checked)
        .map(|(status, key)| peer(status, key?))
        .collect()
}

fn peer(status: Status, key: WireguardKey) -> Option<PeerStatus> {
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
        key,
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
