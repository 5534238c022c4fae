//! The device's way into the network: the embedded tunnel, which needs no interface and no root.

use std::io;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};
use wireguard::quick::HubEndpoint;
use wireguard::{DeviceTunnel, TunnelConfig, TunnelError, TunnelListener, TunnelStream};

use crate::enroll::{Enrollment, copy_of};
use crate::identity::Identity;
use crate::terminal::Listener;

/// How long to wait for the name service.
const LOOKUP: Duration = Duration::from_secs(10);

/// How long to wait for the hub: two tries of WireGuard's five seconds, and a third.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// Why a device is not in the network.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The hub's name leads nowhere now; it may later.
    #[error("the hub `{endpoint}` has no address")]
    Lookup {
        /// The hub.
        endpoint: HubEndpoint,
        /// What the name service said.
        source: io::Error,
    },
    /// The hub did not answer, or no tunnel can be made here.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
}

/// Brings the tunnel up, without waiting for the hub. `endpoint` stands in for the hub's public address
/// where the device is nearer to it.
pub async fn up(
    identity: &Identity,
    enrollment: &Enrollment,
    endpoint: Option<&HubEndpoint>,
) -> Result<DeviceTunnel, ConnectError> {
    let network = enrollment.network();
    let endpoint = endpoint.unwrap_or(&network.hub_endpoint);
    let config = TunnelConfig {
        private_key: copy_of(identity.wireguard_key()),
        address: network.address,
        hub_key: network.hub_key,
        hub_endpoint: resolve(endpoint).await.map_err(|source| ConnectError::Lookup {
            endpoint: endpoint.clone(),
            source,
        })?,
        hub_address: network.hub_address,
        keepalive_seconds: network.keepalive_seconds,
    };
    Ok(DeviceTunnel::up(config).await?)
}

/// Waits for the first handshake with the hub.
pub async fn wait_for_hub(tunnel: &DeviceTunnel) -> Result<(), ConnectError> {
    Ok(tunnel.wait_for_handshake(Instant::now() + HANDSHAKE).await?)
}

async fn resolve(endpoint: &HubEndpoint) -> io::Result<std::net::SocketAddr> {
    let host = endpoint.to_string();
    let mut addresses = timeout(LOOKUP, lookup_host(host))
        .await
        .map_err(|_| io::ErrorKind::TimedOut)??;
    addresses.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl Listener for TunnelListener {
    type Stream = TunnelStream;

    async fn accept(&mut self) -> io::Result<TunnelStream> {
        TunnelListener::accept(self).await
    }
}
