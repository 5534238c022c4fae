use std::error::Error;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use common::domain::{Timestamp, VpnAddress, VpnNetwork, WireguardKey};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub(crate) mod dump;
pub(crate) mod rules;

/// The centre of the device network, as enrollment and the reconciler need it.
///
/// The database is the truth and the hub a cache of it: every method may be repeated, and a caller
/// that got an error asks [`peers`](Hub::peers) what there is before it goes on.
#[async_trait]
pub trait Hub: Send + Sync {
    /// Returns the hub's public key: what devices are told, and the proof that this is the right hub.
    async fn identity(&self) -> Result<WireguardKey, HubError>;

    /// Adds the peers that are missing and corrects those that differ; other peers stay untouched.
    ///
    /// The batch is checked as a whole before anything is changed, and read back afterwards: `Ok`
    /// means that every peer is live. A peer that is already as it should be keeps its session.
    async fn ensure_peers(&self, peers: &[PeerConfig]) -> Result<(), HubError>;

    /// Removes peers; keys that the hub does not know are no error.
    async fn remove_peers(&self, keys: &[WireguardKey]) -> Result<(), HubError>;

    /// Lists every peer with what the hub last saw of it, in no particular order.
    async fn peers(&self) -> Result<Vec<PeerStatus>, HubError>;

    /// Serves this network from now on: the hub's own, with further prefixes. It is told again after every start, because
    /// a hub remembers nothing.
    async fn serve(&self, network: VpnNetwork) -> Result<(), HubError>;

    /// Says the least that a caller needs to know to decide whether to compare everything.
    async fn health(&self) -> Result<HubHealth, HubError> {
        let (identity, peers) = (self.identity().await?, self.peers().await?.len());
        Ok(HubHealth { identity, peers })
    }
}

/// How a hub is. If either is not as expected, the database and the hub differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubHealth {
    /// The hub's public key.
    pub identity: WireguardKey,
    /// How many peers it has.
    pub peers: usize,
}

/// What a peer of the hub shall be: one key, one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerConfig {
    /// Who it is.
    pub key: WireguardKey,
    /// The only address it may send from and is reached at.
    pub address: VpnAddress,
    /// Where its packets came from when it was last seen.
    ///
    /// Only used when the peer is new to the hub: with it a hub that was restarted can call its
    /// devices, instead of waiting up to three minutes for their next handshake.
    pub endpoint: Option<SocketAddr>,
}

impl PeerConfig {
    /// Describes a peer that has not been seen yet.
    pub fn new(key: WireguardKey, address: VpnAddress) -> Self {
        Self {
            key,
            address,
            endpoint: None,
        }
    }

    /// Adds where the peer was last seen.
    #[must_use]
    pub fn last_seen_at(self, endpoint: Option<SocketAddr>) -> Self {
        Self { endpoint, ..self }
    }
}

/// What the hub has and knows of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Who it is.
    pub key: WireguardKey,
    /// The addresses it may use; anything but one /32 is not our doing.
    pub allowed_addresses: Vec<IpNet>,
    /// When its last handshake was complete; none since it was added.
    pub last_handshake: Option<Timestamp>,
    /// Where its packets come from.
    pub endpoint: Option<SocketAddr>,
    /// Bytes from the device since it was added.
    pub received_bytes: u64,
    /// Bytes to the device since it was added.
    pub sent_bytes: u64,
}

impl PeerStatus {
    /// Whether the peer's address is exactly this one, with the IPv6 address beside it.
    pub fn has_only(&self, address: VpnAddress) -> bool {
        let wanted = hosts(address);
        self.allowed_addresses.len() == wanted.clone().count()
            && wanted.into_iter().all(|host| self.allowed_addresses.contains(&host))
    }
}

/// Returns what a peer with this address may send from.
pub(crate) fn hosts(address: VpnAddress) -> impl Iterator<Item = IpNet> + Clone {
    let ip6 = address.ip6().map(|ip6| IpNet::from(IpAddr::V6(ip6)));
    std::iter::once(IpNet::from(IpAddr::V4(address.ip()))).chain(ip6)
}

/// Why the hub is not as it was asked to be; every variant asks for another reaction.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Try again later.
    #[error("the hub did not answer")]
    Unavailable {
        /// What failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Never write to this hub: it is another one, or it has lost its key.
    #[error("the hub's key is `{found}` and not `{expected}`")]
    WrongIdentity {
        /// The key that the hub should have.
        expected: WireguardKey,
        /// The key that it has.
        found: WireguardKey,
    },
    /// Ask for the peers and repeat: the hub said yes, but does not have them so.
    #[error("{} peers are not live on the hub after the change", keys.len())]
    NotApplied {
        /// The peers that read back differently.
        keys: Vec<WireguardKey>,
    },
    /// Remove the holder first, if the database says so; nothing was changed.
    #[error("the address {address} belongs to the peer `{holder}`")]
    AddressTaken {
        /// The address that was asked for.
        address: VpnAddress,
        /// The peer that has it.
        holder: WireguardKey,
    },
    /// The request is wrong, repeating it is useless; nothing was changed.
    #[error("the peer `{key}` cannot be added: {fault}")]
    InvalidPeer {
        /// The peer at fault.
        key: WireguardKey,
        /// What is wrong with it.
        fault: PeerFault,
    },
}

impl HubError {
    pub(crate) fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable { source: source.into() }
    }

    /// Makes another one with the same meaning and words, for one more caller.
    pub(crate) fn duplicate(&self) -> Self {
        match self {
            Self::Unavailable { source } => Self::unavailable(chain(source.as_ref())),
            Self::WrongIdentity { expected, found } => Self::WrongIdentity {
                expected: *expected,
                found: *found,
            },
            Self::NotApplied { keys } => Self::NotApplied { keys: keys.clone() },
            Self::AddressTaken { address, holder } => Self::AddressTaken {
                address: *address,
                holder: *holder,
            },
            Self::InvalidPeer { key, fault } => Self::InvalidPeer {
                key: *key,
                fault: *fault,
            },
        }
    }
}

/// Writes an error and everything that caused it.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What no hub accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum PeerFault {
    /// WireGuard silently ignores a peer with its own key.
    #[error("it is the hub's own key")]
    OwnKey,
    /// Which of the two addresses is meant?
    #[error("the key is twice in one batch")]
    RepeatedKey,
    /// WireGuard silently gives the address to the later peer.
    #[error("its address is twice in one batch")]
    RepeatedAddress,
}
