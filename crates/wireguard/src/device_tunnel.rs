use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use common::domain::{WireguardKey, WireguardPrivateKey};
use gotatun::device::Peer;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use crate::stack::{TunnelListener, TunnelStream};
use crate::tunnel::{Tunnel, TunnelError, peer};

/// How long one attempt to renew the session may take: WireGuard repeats an unanswered handshake
/// every five seconds.
const RENEWAL: Duration = Duration::from_secs(15);

/// What a device needs to know to be in the network.
#[derive(Debug)]
pub struct TunnelConfig {
    /// The device's own key; it never leaves it.
    pub private_key: WireguardPrivateKey,
    /// The device's address in the network.
    pub address: Ipv4Addr,
    /// Who the hub is.
    pub hub_key: WireguardKey,
    /// Where the hub's UDP port is.
    pub hub_endpoint: SocketAddr,
    /// The hub's address in the network, the only one that a device talks to.
    pub hub_address: Ipv4Addr,
    /// How often to send something when nothing else is sent, in seconds; see
    /// [`KEEPALIVE_SECONDS`](crate::KEEPALIVE_SECONDS).
    pub keepalive_seconds: u16,
}

/// A device's side of the network inside this process. Dropping it ends it.
#[derive(Debug)]
pub struct DeviceTunnel {
    tunnel: Arc<Tunnel>,
    config: TunnelConfig,
    _renewal: JoinSet<()>,
}

impl DeviceTunnel {
    /// Brings the tunnel up and begins the first handshake; it does not wait for it.
    pub async fn up(config: TunnelConfig) -> Result<Self, TunnelError> {
        let listen = local_address_towards(config.hub_endpoint);
        let tunnel = Arc::new(Tunnel::start(&config.private_key, config.address, listen).await?);
        tunnel.replace_peer(hub_as_peer(&config)).await?;
        let mut renewal = JoinSet::new();
        renewal.spawn(keep_session_fresh(
            Arc::clone(&tunnel),
            config.hub_key,
            config.keepalive_seconds,
        ));
        Ok(Self {
            tunnel,
            config,
            _renewal: renewal,
        })
    }

    /// Waits until there is a session with the hub.
    pub async fn wait_for_handshake(&self, deadline: Instant) -> Result<(), TunnelError> {
        self.tunnel.handshake(&self.config.hub_key, deadline).await
    }

    /// Forgets the session and makes a new one: for a device that has reason to believe that the hub
    /// has lost it.
    pub async fn reconnect(&self, deadline: Instant) -> Result<(), TunnelError> {
        self.tunnel.replace_peer(hub_as_peer(&self.config)).await?;
        self.wait_for_handshake(deadline).await
    }

    /// Returns how long ago the last handshake was; nothing if there is no session.
    pub async fn last_handshake_age(&self) -> Option<Duration> {
        self.tunnel.last_handshake_age(&self.config.hub_key).await
    }

    /// Accepts connections from the hub on a port of the device's address.
    pub fn listen(&self, port: u16) -> io::Result<TunnelListener> {
        self.tunnel.stack.listen(port)
    }

    /// Connects to a port of the hub.
    pub async fn dial_hub(&self, port: u16) -> io::Result<TunnelStream> {
        let remote = SocketAddrV4::new(self.config.hub_address, port);
        let mut stream = self.tunnel.stack.connect(remote)?;
        stream.connected().await?;
        Ok(stream)
    }

    /// Ends the tunnel and its connections, and gives its UDP port back.
    pub async fn close(&self) {
        self.tunnel.close().await;
    }
}

/// Any port, and only on loopback if the hub is there.
fn local_address_towards(hub: SocketAddr) -> SocketAddr {
    match (hub, hub.ip().is_loopback()) {
        (SocketAddr::V4(_), true) => (Ipv4Addr::LOCALHOST, 0).into(),
        (SocketAddr::V4(_), false) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        (SocketAddr::V6(_), true) => (Ipv6Addr::LOCALHOST, 0).into(),
        (SocketAddr::V6(_), false) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn hub_as_peer(config: &TunnelConfig) -> Peer {
    let mut hub = peer(&config.hub_key, config.hub_address).with_endpoint(config.hub_endpoint);
    hub.keepalive = Some(config.keepalive_seconds); // also makes it begin a handshake at once
    hub
}

/// Renews a session that is older than two minutes, as the kernel does with every keepalive.
///
/// gotatun renews only when there is data, so an idle device would let its session lapse, and be
/// taken for offline, every three minutes.
async fn keep_session_fresh(tunnel: Arc<Tunnel>, hub: WireguardKey, every_seconds: u16) {
    let mut timer = interval(Duration::from_secs(every_seconds.max(1).into()));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !matches!(renew(&tunnel, &hub).await, Err(TunnelError::Closed)) {
        timer.tick().await;
    }
}

async fn renew(tunnel: &Tunnel, hub: &WireguardKey) -> Result<(), TunnelError> {
    let result = tunnel.handshake(hub, Instant::now() + RENEWAL).await;
    result.inspect_err(|error| debug!(%error, "The session with the hub was not renewed"))
}
