//! Who is in the network, who is not, and what survives a restart.

use std::time::Duration;

use crate::stage::{PORT, address, bring_up, greet, join, restart_hub, soon, start_hub, status, until};
use common::domain::WireguardPrivateKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};
use wireguard::{DialError, Hub, HubError, PeerConfig, PeerFault, TunnelError};

#[tokio::test]
async fn a_device_that_the_hub_knows_is_reached_through_its_tunnel() {
    let hub = start_hub().await;

    let device = join(&hub, 2).await;

    assert_eq!(greet(&hub, &device).await, "hello");
    let status = status(&hub, device.key).await.unwrap();
    assert!(status.has_only(device.address));
    assert!(status.last_handshake.is_some());
    assert!(status.endpoint.unwrap().ip().is_loopback());
    assert!(status.received_bytes > 0 && status.sent_bytes > 0);
    assert!(device.tunnel.last_handshake_age().await.unwrap() < Duration::from_secs(15));
}

#[tokio::test]
async fn many_connections_to_one_device_are_independent() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(hub.dial(device.address, PORT, soon()).await.unwrap());
    }

    for (number, stream) in (0_u8..).zip(&mut streams) {
        stream.write_all(&[number; 100]).await.unwrap();
    }

    for (number, stream) in (0_u8..).zip(&mut streams) {
        let mut answer = [0; 100];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, [number; 100]);
    }
}

#[tokio::test]
async fn a_device_that_the_hub_does_not_know_gets_no_handshake() {
    let hub = start_hub().await;
    let stranger = bring_up(&hub, 2, WireguardPrivateKey::generate()).await;

    let result = stranger
        .tunnel
        .wait_for_handshake(Instant::now() + Duration::from_secs(1))
        .await;

    assert!(matches!(result, Err(TunnelError::NoHandshake)), "{result:?}");
    assert_eq!(stranger.tunnel.last_handshake_age().await, None);
}

#[tokio::test]
async fn dialling_fails_in_time_and_says_why() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let away = PeerConfig::new(WireguardPrivateKey::generate().public_key(), address(3));
    hub.ensure_peers(&[away]).await.unwrap();
    let deadline = || Instant::now() + Duration::from_millis(300);

    let nobody = hub.dial(address(4), PORT, deadline()).await;
    let silent = hub.dial(away.address, PORT, deadline()).await;
    let nothing_listens = hub.dial(device.address, 22, soon()).await;

    assert_eq!(nobody.unwrap_err(), DialError::UnknownAddress);
    assert_eq!(silent.unwrap_err(), DialError::NoAnswer);
    assert_eq!(nothing_listens.unwrap_err(), DialError::Refused);
}

#[tokio::test]
async fn a_device_may_appear_while_it_is_being_dialled() {
    let hub = start_hub().await;
    let private_key = WireguardPrivateKey::generate();
    hub.ensure_peers(&[PeerConfig::new(private_key.public_key(), address(2))])
        .await
        .unwrap();

    let (device, stream) = tokio::join!(bring_up(&hub, 2, private_key), hub.dial(address(2), PORT, soon()));

    stream.unwrap();
    assert_eq!(greet(&hub, &device).await, "hello");
}

#[tokio::test]
async fn a_removed_device_loses_its_connections_and_cannot_be_dialled() {
    let hub = start_hub().await;
    let (removed, other) = (join(&hub, 2).await, join(&hub, 3).await);
    let mut stream = hub.dial(removed.address, PORT, soon()).await.unwrap();
    let mut untouched = hub.dial(other.address, PORT, soon()).await.unwrap();

    hub.remove_peers(&[removed.key]).await.unwrap();
    hub.remove_peers(&[removed.key]).await.unwrap();

    let end = timeout_at(soon(), stream.read_u8()).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(
        hub.dial(removed.address, PORT, soon()).await.unwrap_err(),
        DialError::UnknownAddress
    );
    assert_eq!(status(&hub, removed.key).await, None);
    untouched.write_all(b"!").await.unwrap();
    assert_eq!(untouched.read_u8().await.unwrap(), b'!');
}

#[tokio::test]
async fn a_removed_device_that_is_added_again_is_reached_again() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let endpoint = status(&hub, device.key).await.unwrap().endpoint;
    hub.remove_peers(&[device.key]).await.unwrap();

    hub.ensure_peers(&[device.as_peer().last_seen_at(endpoint)])
        .await
        .unwrap();

    assert_eq!(greet(&hub, &device).await, "hello");
}

#[tokio::test]
async fn a_hub_with_the_same_key_and_port_gets_its_devices_back_after_a_restart() {
    let key = WireguardPrivateKey::generate();
    let hub = restart_hub(&key, "127.0.0.1:0".parse().unwrap()).await;
    let (called, calling) = (join(&hub, 2).await, join(&hub, 3).await);
    let mut stream = hub.dial(called.address, PORT, soon()).await.unwrap();
    let endpoint = status(&hub, called.key).await.unwrap().endpoint;
    let listen = hub.listen_address();

    hub.close().await;
    assert!(stream.read_u8().await.is_err());
    let hub = restart_hub(&key, listen).await;
    hub.ensure_peers(&[called.as_peer().last_seen_at(endpoint), calling.as_peer()])
        .await
        .unwrap();

    // The hub calls the one whose endpoint it knows; the other one calls the hub.
    assert_eq!(greet(&hub, &called).await, "hello");
    calling.tunnel.reconnect(soon()).await.unwrap();
    assert_eq!(greet(&hub, &calling).await, "hello");
}

#[tokio::test]
async fn a_closed_hub_says_so() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;

    hub.close().await;

    assert_eq!(
        hub.dial(device.address, PORT, soon()).await.unwrap_err(),
        DialError::Unavailable
    );
}

#[tokio::test]
async fn what_wireguard_would_silently_do_otherwise_is_refused_and_changes_nothing() {
    let hub = start_hub().await;
    let peer = |number| PeerConfig::new(WireguardPrivateKey::generate().public_key(), address(number));
    let held = peer(2);
    hub.ensure_peers(&[held]).await.unwrap();
    let (good, twice) = (peer(3), peer(4));

    let own_key = PeerConfig::new(hub.identity().await.unwrap(), address(5));
    let moved = PeerConfig {
        address: address(6),
        ..twice
    };
    for (batch, expected) in [
        ([good, own_key], PeerFault::OwnKey),
        ([twice, moved], PeerFault::RepeatedKey),
        ([good, peer(3)], PeerFault::RepeatedAddress),
    ] {
        let result = hub.ensure_peers(&batch).await;
        let Err(HubError::InvalidPeer { key, fault }) = result else {
            panic!("{result:?}")
        };
        assert_eq!((key, fault), (batch[1].key, expected));
    }
    let result = hub.ensure_peers(&[good, peer(2)]).await;
    let Err(HubError::AddressTaken { address: taken, holder }) = result else {
        panic!("{result:?}")
    };

    assert_eq!((taken, holder), (held.address, held.key));
    let keys: Vec<_> = hub
        .peers()
        .await
        .unwrap()
        .into_iter()
        .map(|status| status.key)
        .collect();
    assert_eq!(keys, [held.key]);
}

#[tokio::test]
async fn ensuring_a_peer_again_keeps_its_session_and_moving_it_does_too() {
    let hub = start_hub().await;
    let device = join(&hub, 2).await;
    let before = status(&hub, device.key).await.unwrap();
    let mut stream = hub.dial(device.address, PORT, soon()).await.unwrap();

    hub.ensure_peers(&[device.as_peer()]).await.unwrap();
    stream.write_all(b"!").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'!');

    hub.ensure_peers(&[PeerConfig::new(device.key, address(9))])
        .await
        .unwrap();
    let after = status(&hub, device.key).await.unwrap();
    assert!(after.has_only(address(9)));
    assert_eq!(after.endpoint, before.endpoint);
    assert!(stream.read_u8().await.is_err());
    let newcomer = PeerConfig::new(WireguardPrivateKey::generate().public_key(), device.address);
    hub.ensure_peers(&[newcomer]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_devices_come_up_together() {
    let hub = start_hub().await;
    let keys: Vec<_> = (2..102)
        .map(|number| (number, WireguardPrivateKey::generate()))
        .collect();
    let peers: Vec<_> = keys
        .iter()
        .map(|(number, key)| PeerConfig::new(key.public_key(), address(*number)))
        .collect();
    hub.ensure_peers(&peers).await.unwrap();

    let mut devices = Vec::new();
    for (number, key) in keys {
        devices.push(bring_up(&hub, number, key).await);
    }

    until("every device has made its handshake", async || {
        hub.peers()
            .await
            .unwrap()
            .iter()
            .all(|status| status.last_handshake.is_some())
    })
    .await;
    for device in &devices {
        assert_eq!(greet(&hub, device).await, "hello");
    }
}
