use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::domain::{WireguardKey, WireguardPrivateKey};
use gotatun::device::{Device, DeviceBuilder, Error, Peer};
use gotatun::x25519::{PublicKey, StaticSecret};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::stack::{FromStack, Stack, ToStack};
use crate::udp::BoundSocket;

/// How long to wait for the operating system to give the UDP port back.
const RELEASE: Duration = Duration::from_secs(5);

/// How often to look whether the other side has made the handshake in the meantime.
const HANDSHAKE_LOOK: Duration = Duration::from_millis(250);

/// Why a tunnel does not work.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// The UDP address cannot be used: taken, or not of this machine.
    #[error("the UDP address {address} cannot be used")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The other side did not answer: unreachable, or it does not know our key.
    #[error("no WireGuard handshake within the time")]
    NoHandshake,
    /// The tunnel has been closed.
    #[error("the tunnel is closed")]
    Closed,
}

/// Describes a peer with one address and no known endpoint.
pub(crate) fn peer(key: &WireguardKey, address: Ipv4Addr) -> Peer {
    Peer::new(PublicKey::from(*key.as_bytes())).with_allowed_ip(IpAddr::V4(address).into())
}

/// One end of a WireGuard network: keys and peers (gotatun), UDP below, a TCP host above.
///
/// Dropping it ends it; [`close`](Self::close) also waits until the UDP port is free again.
pub(crate) struct Tunnel {
    pub(crate) wireguard: Device<(BoundSocket, ToStack, FromStack)>,
    pub(crate) stack: Stack,
    local: SocketAddr,
    released: CancellationToken,
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tunnel")
            .field("local", &self.local)
            .field("stack", &self.stack)
            .finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Binds the UDP address and starts, without peers.
    pub(crate) async fn start(
        key: &WireguardPrivateKey,
        address: Ipv4Addr,
        listen: SocketAddr,
    ) -> Result<Self, TunnelError> {
        let bind_failed = |source| TunnelError::Bind {
            address: listen,
            source,
        };
        let (socket, local, released) = BoundSocket::bind(listen).await.map_err(bind_failed)?;
        let (stack, to_stack, from_stack) = Stack::start(address);
        let wireguard = DeviceBuilder::new()
            .with_udp(socket)
            .with_ip_pair(to_stack, from_stack)
            .with_private_key(StaticSecret::from(*key.expose_bytes()))
            .build()
            .await
            .map_err(|_| TunnelError::Closed)?;
        // A device that is built without peers takes up its socket only when it is reconfigured;
        // adding a peer does not do that, and clearing them does.
        wireguard.clear_peers().await.map_err(|_| TunnelError::Closed)?;
        Ok(Self {
            wireguard,
            stack,
            local,
            released,
        })
    }

    /// Returns the UDP address that it listens on.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local
    }

    /// Waits until there is a session with a peer that is not yet due for renewal, and asks for one if
    /// there is none.
    pub(crate) async fn handshake(&self, peer: &WireguardKey, deadline: Instant) -> Result<(), TunnelError> {
        let peer = PublicKey::from(*peer.as_bytes());
        let attempt = async {
            // gotatun waits for ever, and only for handshakes that this side began.
            loop {
                match timeout(HANDSHAKE_LOOK, self.wireguard.force_handshake(&peer)).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(Error::IoError(_))) => sleep(HANDSHAKE_LOOK).await, // no way there for now
                    Ok(Err(_)) => return Err(TunnelError::Closed),
                    Err(_elapsed) => {}
                }
            }
        };
        timeout_at(deadline, attempt)
            .await
            .unwrap_or(Err(TunnelError::NoHandshake))
    }

    /// Returns how long ago the last handshake with a peer was.
    pub(crate) async fn last_handshake_age(&self, peer: &WireguardKey) -> Option<Duration> {
        let peer = PublicKey::from(*peer.as_bytes());
        let peers = self.wireguard.peers().await;
        peers
            .into_iter()
            .find(|status| status.peer.public_key == peer)?
            .stats
            .last_handshake
    }

    /// Adds a peer, or replaces it together with its session.
    pub(crate) async fn replace_peer(&self, peer: Peer) -> Result<(), TunnelError> {
        let replace = async |device: &mut gotatun::device::configure::DeviceWrite<'_, _>| {
            device.remove_peer(&peer.public_key).await;
            device.add_peer(peer);
        };
        self.wireguard.write(replace).await.map_err(|_| TunnelError::Closed)
    }

    /// Resets every connection, stops, and gives the UDP port back.
    pub(crate) async fn close(&self) {
        self.stack.close();
        self.wireguard.suspend().await;
        if timeout(RELEASE, self.released.cancelled()).await.is_err() {
            warn!(udp.address = %self.local, "A closed tunnel still holds its UDP port");
        }
    }
}
