//! What a device cannot do, even one that is built to cheat.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use common::domain::{SystemClock, VpnNetwork, WireguardKey, WireguardPrivateKey};
use tokio::time::{Instant, sleep, timeout};

use crate::tunnel::{Tunnel, peer};
use crate::{DeviceTunnel, EmbeddedHub, Hub as _, HubConfig, PeerConfig, TunnelConfig};

const HUB: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 1);
const CHEAT: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 2);
const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 8, 0, 3);
const PORT: u16 = 7681;

/// A handshake response and a keepalive.
const HANDSHAKE_BYTES: u64 = 92 + 32;

#[tokio::test]
async fn a_packet_for_another_device_ends_at_the_hub() {
    let hub = start_hub().await;
    let victim_key = WireguardPrivateKey::generate();
    admit(&hub, victim_key.public_key(), VICTIM).await;
    let victim = bring_up(&hub, victim_key).await;
    let listener = victim.listen(PORT).unwrap();
    let cheat = cheat(&hub, CHEAT).await;

    let attempt = dial(&cheat, VICTIM, PORT);
    let refused = async {
        while hub.refused_packets() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        biased;
        result = attempt => panic!("{result:?}"),
        result = timeout(Duration::from_secs(15), refused) => result.unwrap(),
    }

    let peers = hub.peers().await.unwrap();
    let sent = peers
        .iter()
        .find(|status| status.has_only(network().device_address(VICTIM).unwrap()))
        .unwrap()
        .sent_bytes;
    assert!(sent <= HANDSHAKE_BYTES, "{sent}");
    let mut accept = Box::pin(listener.accept());
    assert!(poll_once(&mut accept).is_pending());
    // The victim is there all the while: the hub itself reaches it.
    let address = network().device_address(VICTIM).unwrap();
    hub.dial(address, PORT, Instant::now() + Duration::from_secs(15))
        .await
        .unwrap();
    accept.await.unwrap();
}

#[tokio::test]
async fn no_port_of_the_hub_is_open() {
    let hub = start_hub().await;
    let cheat = cheat(&hub, CHEAT).await;

    for port in [22, 80, 7681, 8000, 8888, 51820] {
        let result = timeout(Duration::from_secs(15), dial(&cheat, HUB, port)).await;
        assert_eq!(
            result.unwrap().unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused,
            "{port}"
        );
    }
}

#[tokio::test]
async fn a_device_that_uses_another_address_is_not_heard() {
    let hub = start_hub().await;
    let honest = cheat(&hub, CHEAT).await;
    let liar_key = WireguardPrivateKey::generate();
    admit(&hub, liar_key.public_key(), VICTIM).await;
    let liar = connect_with_open_routes(&hub, &liar_key, Ipv4Addr::new(10, 8, 0, 77)).await;

    let unheard = timeout(Duration::from_millis(300), dial(&liar, HUB, 80)).await;
    let heard = timeout(Duration::from_secs(15), dial(&honest, HUB, 80)).await;

    assert!(unheard.is_err(), "{unheard:?}");
    assert!(heard.unwrap().is_err());
}

async fn dial(tunnel: &Tunnel, host: Ipv4Addr, port: u16) -> io::Result<()> {
    tunnel.stack.connect(SocketAddrV4::new(host, port))?.connected().await
}

fn network() -> VpnNetwork {
    VpnNetwork::new("10.8.0.0/24".parse().unwrap(), Some(HUB)).unwrap()
}

async fn start_hub() -> EmbeddedHub {
    let config = HubConfig {
        private_key: WireguardPrivateKey::generate(),
        network: network(),
        listen: "127.0.0.1:0".parse().unwrap(),
        clock: Arc::new(SystemClock),
    };
    EmbeddedHub::start(config).await.unwrap()
}

async fn admit(hub: &EmbeddedHub, key: WireguardKey, address: Ipv4Addr) {
    let address = network().device_address(address).unwrap();
    hub.ensure_peers(&[PeerConfig::new(key, address)]).await.unwrap();
}

async fn bring_up(hub: &EmbeddedHub, private_key: WireguardPrivateKey) -> DeviceTunnel {
    let config = TunnelConfig {
        private_key,
        address: VICTIM,
        hub_key: hub.identity().await.unwrap(),
        hub_endpoint: hub.listen_address(),
        hub_address: HUB,
        keepalive_seconds: crate::KEEPALIVE_SECONDS,
    };
    let tunnel = DeviceTunnel::up(config).await.unwrap();
    tunnel
        .wait_for_handshake(Instant::now() + Duration::from_secs(15))
        .await
        .unwrap();
    tunnel
}

/// A member of the network that ignores what its configuration says.
async fn cheat(hub: &EmbeddedHub, address: Ipv4Addr) -> Tunnel {
    let key = WireguardPrivateKey::generate();
    admit(hub, key.public_key(), address).await;
    connect_with_open_routes(hub, &key, address).await
}

/// Routes everything into the tunnel, and can dial.
async fn connect_with_open_routes(hub: &EmbeddedHub, key: &WireguardPrivateKey, address: Ipv4Addr) -> Tunnel {
    let tunnel = Tunnel::start(key, address, "127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let hub_key = hub.identity().await.unwrap();
    let everything = "0.0.0.0/0".parse().unwrap();
    let hub_peer = peer(&hub_key, HUB)
        .with_endpoint(hub.listen_address())
        .with_allowed_ip(everything);
    tunnel.replace_peer(hub_peer).await.unwrap();
    tunnel
        .handshake(&hub_key, Instant::now() + Duration::from_secs(15))
        .await
        .unwrap();
    tunnel
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut context)
}
