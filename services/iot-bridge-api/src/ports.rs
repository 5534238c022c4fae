//! What the use cases need from other systems. The database's ports are in [`common::domain`].
//!
//! One trait a role; its adapter carries the product's name. `ensure_` and `remove_` may be repeated.

mod metrics;
mod neighbours;

use std::error::Error;
use std::net::SocketAddr;

use async_trait::async_trait;
use common::domain::{CertificateIntent, Digest, System, Timestamp, VpnAddress, VpnNetwork, WireguardKey};

pub use self::metrics::{MetricsKey, MetricsPlace, MetricsStore};
pub use self::neighbours::{ChangePage, DevicePlatform, Neighbour, Passport, UpdateServer};

/// Why another system did not do what it was asked. Each variant is a reaction.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No answer, or a passing fault: the same again may work later.
    #[error("{} did not answer", .system.as_str())]
    Unavailable {
        /// Which one.
        system: System,
        /// What happened.
        source: BoxedError,
    },
    /// It understood and will not do it: the same again will not work, a person has to look.
    #[error("{} refused", .system.as_str())]
    Refused {
        /// Which one.
        system: System,
        /// What it said.
        source: BoxedError,
    },
    /// It answered what cannot be believed: an alarm, and nothing of the answer is used.
    #[error("{} gave an answer that is not believed", .system.as_str())]
    Unexpected {
        /// Which one.
        system: System,
        /// What was wrong with it.
        source: BoxedError,
    },
}

/// The cause of an [`UpstreamError`], for the log only.
pub type BoxedError = Box<dyn Error + Send + Sync>;

impl UpstreamError {
    /// No answer.
    pub fn unavailable(system: System, source: impl Into<BoxedError>) -> Self {
        Self::Unavailable {
            system,
            source: source.into(),
        }
    }

    /// An answer that says no.
    pub fn refused(system: System, source: impl Into<BoxedError>) -> Self {
        Self::Refused {
            system,
            source: source.into(),
        }
    }

    /// An answer that is not believed.
    pub fn unexpected(system: System, source: impl Into<BoxedError>) -> Self {
        Self::Unexpected {
            system,
            source: source.into(),
        }
    }

    /// Which system it was.
    pub fn system(&self) -> System {
        match self {
            Self::Unavailable { system, .. } | Self::Refused { system, .. } | Self::Unexpected { system, .. } => {
                *system
            }
        }
    }
}

/// What a certificate authority answered, before it is believed: `app::certificate` checks it against the intent
/// and makes an [`IssuedCertificate`](common::domain::IssuedCertificate) of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedChain {
    /// The leaf first, then its intermediates up to below the root; PEM blocks one after the other.
    pub pem: String,
}

/// Signs what we decided to have signed, and takes it back.
#[async_trait]
pub trait CertificateAuthority: Send + Sync + 'static {
    /// Has an intent signed, for the names of its device and nothing else in the request; every call may make a
    /// new certificate.
    async fn sign(&self, intent: &CertificateIntent) -> Result<SignedChain, UpstreamError>;

    /// Takes a certificate back, by its serial number in lower-case hex; repeatable.
    async fn revoke(&self, serial: &str) -> Result<(), UpstreamError>;

    /// Returns the roots that are trusted (several during a rotation): PEM blocks, pinned and not just fetched.
    async fn roots(&self) -> Result<String, UpstreamError>;

    /// Returns the certificates between the roots and the leaves that it signs now: PEM blocks, not checked yet.
    async fn intermediates(&self) -> Result<String, UpstreamError>;

    /// Returns the digests of the keys that are its own, of its certificates and of whoever speaks for us: no device
    /// may have one of them.
    async fn own_keys(&self) -> Result<Vec<Digest>, UpstreamError>;

    /// Returns the current revocation list, DER (RFC 5280 §5); none when this authority keeps none.
    async fn crl(&self) -> Result<Option<Vec<u8>>, UpstreamError>;

    /// Asks whether it could sign now.
    async fn health(&self) -> Result<(), UpstreamError>;
}

/// A device as the hub of the device network knows it: one key, one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VpnMember {
    /// Its public key.
    pub key: WireguardKey,
    /// The only address that its packets may come from.
    pub address: VpnAddress,
    /// Where its packets last came from, when that is known: a hub to which it is new calls it there.
    pub endpoint: Option<SocketAddr>,
}

/// How a hub is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayHealth {
    /// Its public key.
    pub identity: WireguardKey,
    /// How many members it has.
    pub members: usize,
}

/// What the hub sees of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its public key.
    pub key: WireguardKey,
    /// Its address, when that is exactly one that a device may have; otherwise someone tampered.
    pub address: Option<VpnAddress>,
    /// When the last handshake was complete.
    pub last_handshake_at: Option<Timestamp>,
    /// Where its packets come from, `address:port`.
    pub endpoint: Option<String>,
    /// Bytes from the device since the peer was added.
    pub received_bytes: u64,
    /// Bytes to the device since the peer was added.
    pub sent_bytes: u64,
}

/// The hub of the device network.
#[async_trait]
pub trait VpnGateway: Send + Sync + 'static {
    /// Returns the hub's public key; also the question whether it is alive.
    async fn identity(&self) -> Result<WireguardKey, UpstreamError>;

    /// Makes these devices members with exactly these addresses, and reads back that it is so.
    async fn ensure_members(&self, members: &[VpnMember]) -> Result<(), UpstreamError>;

    /// Takes these keys out.
    async fn remove_members(&self, keys: &[WireguardKey]) -> Result<(), UpstreamError>;

    /// Lists everyone who is a member now.
    async fn members(&self) -> Result<Vec<MemberStatus>, UpstreamError>;

    /// Says who it is and how many members it has.
    async fn health(&self) -> Result<GatewayHealth, UpstreamError>;

    /// Serves these addresses from now on, rules and routes included; repeatable.
    async fn serve(&self, network: VpnNetwork) -> Result<(), UpstreamError>;
}
