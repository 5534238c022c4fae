//! Hubs that need no root are held against the contract of all hubs.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::sync::Arc;

use common::chassis::shutdown::Shutdown;
use common::domain::{SystemClock, VpnNetwork, WireguardPrivateKey};
use wireguard::contract::keeps_its_promises;
use wireguard::{BatchingHub, Callers, EmbeddedHub, HubConfig, HubSocket, SocketHub};

#[tokio::test]
async fn the_embedded_hub_keeps_every_promise() {
    keeps_its_promises(&embedded_hub().await, network()).await.unwrap();
}

#[tokio::test]
async fn a_hub_behind_a_queue_and_a_socket_keeps_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hub.sock");
    let shutdown = Shutdown::new();
    let (hub, writer) = BatchingHub::new(Arc::new(embedded_hub().await));
    shutdown.spawn(writer.run(shutdown.token()));
    let uids = [rustix::process::getuid().as_raw()].into();
    let socket = HubSocket::bind(&path, None).await.unwrap();
    socket.serve(
        Arc::new(hub),
        Callers {
            uids,
            network: network().into(),
        },
        &shutdown,
    );

    keeps_its_promises(&SocketHub::new(&path, network()), network())
        .await
        .unwrap();
}

async fn embedded_hub() -> EmbeddedHub {
    let config = HubConfig {
        private_key: WireguardPrivateKey::generate(),
        network: network(),
        listen: "127.0.0.1:0".parse().unwrap(),
        clock: Arc::new(SystemClock),
    };
    EmbeddedHub::start(config).await.unwrap()
}

fn network() -> VpnNetwork {
    VpnNetwork::new("10.8.0.0/16".parse().unwrap(), None).unwrap()
}
