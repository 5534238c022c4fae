//! The device's way into the network: embedded in this process, which needs no interface and no root, or on an interface
//! of the kernel or of a daemon.

mod interface;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use common::domain::{Clock as _, SystemClock};
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};
use wireguard::quick::HubEndpoint;
use wireguard::{DeviceTunnel, TunnelConfig, TunnelError, TunnelListener, TunnelStream};

use self::interface::Facts;
pub use self::interface::{InterfaceError, InterfaceSettings, InterfaceTunnel};
use crate::enroll::{Enrollment, copy_of};
use crate::identity::{Identity, WIREGUARD_KEY_FILE};
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
    /// The interface does not come up.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

/// What the tunnel is made of.
#[derive(Debug, Clone)]
pub enum TunnelKind {
    /// This process.
    Embedded,
    /// A network interface.
    Interface(InterfaceSettings),
}

/// A tunnel that is up.
#[derive(Debug)]
pub struct Tunnel {
    kind: Kind,
    hub: HubEndpoint,
}

#[derive(Debug)]
enum Kind {
    Embedded(DeviceTunnel),
    Interface(Box<InterfaceTunnel>),
}

impl Tunnel {
    /// Brings the tunnel up, without waiting for the hub. `hub` stands in for the hub's public address where the device
    /// is nearer to it; `state` is the folder with the device's key.
    pub async fn up(
        kind: &TunnelKind,
        state: &Path,
        identity: &Identity,
        enrollment: &Enrollment,
        hub: Option<&HubEndpoint>,
    ) -> Result<Self, ConnectError> {
        let network = enrollment.network();
        let hub = hub.unwrap_or(&network.hub_endpoint).clone();
        let endpoint = resolve(&hub).await?;
        let kind = match kind {
            TunnelKind::Embedded => {
                let config = TunnelConfig {
                    private_key: copy_of(identity.wireguard_key()),
                    address: network.address,
                    hub_key: network.hub_key,
                    hub_endpoint: endpoint,
                    hub_address: network.hub_address,
                    keepalive_seconds: network.keepalive_seconds,
                };
                Kind::Embedded(DeviceTunnel::up(config).await?)
            }
            TunnelKind::Interface(settings) => {
                let facts = Facts {
                    key_file: state.join(WIREGUARD_KEY_FILE),
                    address: network.address,
                    hub_key: network.hub_key,
                    hub_address: network.hub_address,
                    keepalive_seconds: network.keepalive_seconds,
                    mtu: network.mtu,
                    ip6: network.ip6,
                };
                let tunnel = InterfaceTunnel::new(settings.clone(), facts);
                tunnel.ensure(endpoint).await?;
                Kind::Interface(Box::new(tunnel))
            }
        };
        Ok(Self { kind, hub })
    }

    /// Waits for the first handshake with the hub.
    pub async fn wait_for_hub(&self) -> Result<(), ConnectError> {
        let deadline = Instant::now() + HANDSHAKE;
        match &self.kind {
            Kind::Embedded(tunnel) => Ok(tunnel.wait_for_handshake(deadline).await?),
            Kind::Interface(tunnel) => Ok(tunnel.wait_for_handshake(deadline).await?),
        }
    }

    /// Returns how long ago the last handshake was; nothing if there is no session.
    pub async fn last_handshake_age(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Embedded(tunnel) => tunnel.last_handshake_age().await,
            Kind::Interface(tunnel) => {
                let now = SystemClock.now().unix_timestamp();
                tunnel.last_handshake_age(now).await
            }
        }
    }

    /// Puts right what somebody changed, and asks the name service again where the hub is.
    pub async fn repair(&self) -> Result<(), ConnectError> {
        match &self.kind {
            Kind::Embedded(tunnel) => Ok(tunnel.reconnect(Instant::now() + HANDSHAKE).await?),
            Kind::Interface(tunnel) => Ok(tunnel.ensure(resolve(&self.hub).await?).await?),
        }
    }

    /// Accepts connections from the hub on a port of the device's address, and nowhere else.
    pub(crate) fn listen(&self, port: u16) -> io::Result<AnyListener> {
        match &self.kind {
            Kind::Embedded(tunnel) => tunnel.listen(port).map(AnyListener::Embedded),
            Kind::Interface(tunnel) => {
                let listener = std::net::TcpListener::bind((tunnel.address(), port))?;
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener).map(AnyListener::Socket)
            }
        }
    }

    /// Connects to a port of the hub through an embedded tunnel; with an interface the system does that.
    pub(crate) async fn dial_hub(&self, port: u16) -> io::Result<TunnelStream> {
        match &self.kind {
            Kind::Embedded(tunnel) => tunnel.dial_hub(port).await,
            Kind::Interface(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Ends an embedded tunnel and its connections.
    pub async fn close(&self) {
        if let Kind::Embedded(tunnel) = &self.kind {
            tunnel.close().await;
        }
    }
}

/// Where the terminal's connections come from.
#[derive(Debug)]
pub(crate) enum AnyListener {
    Embedded(TunnelListener),
    Socket(tokio::net::TcpListener),
}

async fn resolve(endpoint: &HubEndpoint) -> Result<SocketAddr, ConnectError> {
    let look_up = async {
        let host = endpoint.to_string();
        let mut addresses = timeout(LOOKUP, lookup_host(host))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        addresses.next().ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    look_up.await.map_err(|source| ConnectError::Lookup {
        endpoint: endpoint.clone(),
        source,
    })
}

impl Listener for TunnelListener {
    type Stream = TunnelStream;

    async fn accept(&mut self) -> io::Result<TunnelStream> {
        TunnelListener::accept(self).await
    }
}
