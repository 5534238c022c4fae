use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use common::domain::{WireguardKey, WireguardPrivateKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wireguard::{DeviceTunnel, Hub, PeerConfig, TunnelConfig};

use crate::milliseconds;
use crate::stage::{Stage, TERMINAL_PORT, network, peers, raw};

/// What is between two messages of the device that nothing happens to.
const PULSE: Duration = Duration::from_millis(2);
/// A large hub is listed at most once a second, and what was listed before the difference would not show it.
const LISTED: Duration = Duration::from_secs(1);
/// TCP sends a lost packet again after 200 ms at the earliest (`TCP_RTO_MIN`).
const LOST: Duration = Duration::from_millis(200);

/// Brings a hub in line that differs in one peer of a hundred, while a device that is in line speaks all the time.
pub(crate) async fn measure(count: u32) {
    let stage = Stage::build().await;
    let hub = stage.hub();
    let key = WireguardPrivateKey::generate();
    let address = network().device_addresses().last().unwrap();
    let unchanged = PeerConfig::new(key.public_key(), address);
    let wanted: HashMap<WireguardKey, PeerConfig> = peers(0, count - 1)
        .into_iter()
        .chain([unchanged])
        .map(|peer| (peer.key, peer))
        .collect();
    let all: Vec<_> = wanted.values().copied().collect();
    for batch in all.chunks(1000) {
        hub.ensure_peers(batch).await.unwrap();
    }
    let device = join(key, &unchanged, &*hub).await;
    let mut stream = speak(&device, address.ip()).await;
    pulse(&mut stream).await;

    // Half of the difference is missing, half is foreign.
    let half = count / 200;
    raw::remove(&peers(0, half));
    raw::add(&peers(count, half));
    tokio::time::sleep(LISTED).await;
    let began = Instant::now();
    let mut worst = Duration::ZERO;
    let mut work = Box::pin(sweep(&*hub, &wanted));
    let changed = loop {
        tokio::select! {
            changed = &mut work => break changed,
            time = pulse(&mut stream) => worst = worst.max(time),
        }
    };
    println!(
        "{count} peers with 1 % difference in line after {:.2} s ({changed} changed); worst round trip of a device \
         meanwhile {:.1} ms, {}",
        began.elapsed().as_secs_f64(),
        milliseconds(worst),
        if worst < LOST {
            "no packet lost"
        } else {
            "A PACKET WAS LOST"
        },
    );
    let again = sweep(&*hub, &wanted).await;
    assert_eq!(again, 0, "the hub is still not in line");
}

/// What the bridge's reconciler does with a hub.
async fn sweep(hub: &dyn Hub, wanted: &HashMap<WireguardKey, PeerConfig>) -> usize {
    let present = hub.peers().await.unwrap();
    let strangers = present.iter().map(|status| status.key);
    let strangers: Vec<_> = strangers.filter(|key| !wanted.contains_key(key)).collect();
    hub.remove_peers(&strangers).await.unwrap();
    let is_present: HashMap<_, _> = present.iter().map(|status| (status.key, status)).collect();
    let is_missing = |peer: &&PeerConfig| {
        let status = is_present.get(&peer.key);
        !status.is_some_and(|status| status.has_only(peer.address))
    };
    let missing: Vec<_> = wanted.values().filter(is_missing).copied().collect();
    for batch in missing.chunks(1000) {
        hub.ensure_peers(batch).await.unwrap();
    }
    strangers.len() + missing.len()
}

async fn join(key: WireguardPrivateKey, peer: &PeerConfig, hub: &dyn Hub) -> DeviceTunnel {
    let config = TunnelConfig {
        private_key: key,
        address: peer.address.ip(),
        hub_key: hub.identity().await.unwrap(),
        hub_endpoint: SocketAddr::from((Ipv4Addr::LOCALHOST, 51820)),
        hub_address: network().hub(),
        keepalive_seconds: wireguard::KEEPALIVE_SECONDS,
    };
    let tunnel = DeviceTunnel::up(config).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    tunnel.wait_for_handshake(deadline).await.unwrap();
    tunnel
}

/// Opens a connection to the device, on which it says again what it hears.
async fn speak(device: &DeviceTunnel, address: Ipv4Addr) -> TcpStream {
    let listener = device.listen(TERMINAL_PORT).unwrap();
    let connect = TcpStream::connect((address, TERMINAL_PORT));
    let (accepted, connected) = tokio::join!(listener.accept(), connect);
    let mut echo = accepted.unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the bench")]
    tokio::spawn(async move {
        let mut byte = [0];
        while echo.read_exact(&mut byte).await.is_ok() && echo.write_all(&byte).await.is_ok() {}
    });
    let stream = connected.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn pulse(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    stream.write_all(b".").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    let took = began.elapsed();
    tokio::time::sleep(PULSE).await;
    took
}
