//! A hub and its devices on loopback, in one process.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use common::domain::{SystemClock, VpnAddress, VpnNetwork, WireguardKey, WireguardPrivateKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use wireguard::{
    DeviceTunnel, EmbeddedHub, Hub, HubConfig, KEEPALIVE_SECONDS, PeerConfig, PeerStatus, TunnelConfig, TunnelListener,
};

/// The port that devices serve in these tests.
pub(crate) const PORT: u16 = 7681;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Long enough for a handshake that is repeated once, on a busy machine.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(15)
}

pub(crate) fn network() -> VpnNetwork {
    VpnNetwork::new("10.8.0.0/24".parse().unwrap(), None).unwrap()
}

/// The address of the device with this number, from 2 to 254.
pub(crate) fn address(number: u8) -> VpnAddress {
    network().device_address(Ipv4Addr::new(10, 8, 0, number)).unwrap()
}

pub(crate) fn copy(key: &WireguardPrivateKey) -> WireguardPrivateKey {
    use secrecy::ExposeSecret as _;
    WireguardPrivateKey::parse(key.to_base64().expose_secret()).unwrap()
}

pub(crate) async fn start_hub() -> EmbeddedHub {
    restart_hub(&WireguardPrivateKey::generate(), ANY_PORT).await
}

pub(crate) async fn restart_hub(key: &WireguardPrivateKey, listen: SocketAddr) -> EmbeddedHub {
    let config = HubConfig {
        private_key: copy(key),
        network: network(),
        listen,
        clock: Arc::new(SystemClock),
    };
    EmbeddedHub::start(config).await.unwrap()
}

/// A device in the network, with a service that sends everything back.
pub(crate) struct EchoDevice {
    pub(crate) tunnel: DeviceTunnel,
    pub(crate) key: WireguardKey,
    pub(crate) address: VpnAddress,
    _service: JoinSet<()>,
}

impl EchoDevice {
    pub(crate) fn as_peer(&self) -> PeerConfig {
        PeerConfig::new(self.key, self.address)
    }
}

/// Makes a device that the hub knows, and waits for its handshake.
pub(crate) async fn join(hub: &EmbeddedHub, number: u8) -> EchoDevice {
    let private_key = WireguardPrivateKey::generate();
    let peer = PeerConfig::new(private_key.public_key(), address(number));
    hub.ensure_peers(&[peer]).await.unwrap();
    let device = bring_up(hub, number, private_key).await;
    device.tunnel.wait_for_handshake(soon()).await.unwrap();
    device
}

/// Makes a device that the hub does not have to know.
pub(crate) async fn bring_up(hub: &EmbeddedHub, number: u8, private_key: WireguardPrivateKey) -> EchoDevice {
    let key = private_key.public_key();
    let config = TunnelConfig {
        private_key,
        address: address(number).ip(),
        hub_key: hub.identity().await.unwrap(),
        hub_endpoint: hub.listen_address(),
        hub_address: network().hub(),
        keepalive_seconds: KEEPALIVE_SECONDS,
    };
    let tunnel = DeviceTunnel::up(config).await.unwrap();
    let listener = tunnel.listen(PORT).unwrap();
    let mut service = JoinSet::new();
    service.spawn(echo(listener));
    EchoDevice {
        tunnel,
        key,
        address: address(number),
        _service: service,
    }
}

async fn echo(listener: TunnelListener) {
    let mut connections = JoinSet::new();
    while let Ok(stream) = listener.accept().await {
        connections.spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(stream);
            tokio::io::copy(&mut reader, &mut writer).await?;
            writer.shutdown().await
        });
    }
}

/// Sends a line to a device and returns what comes back.
pub(crate) async fn greet(hub: &EmbeddedHub, device: &EchoDevice) -> String {
    let mut stream = hub.dial(device.address, PORT, soon()).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub(crate) async fn status(hub: &EmbeddedHub, key: WireguardKey) -> Option<PeerStatus> {
    hub.peers().await.unwrap().into_iter().find(|peer| peer.key == key)
}

/// Waits for a condition, and stops the test if it does not come true.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = soon();
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
