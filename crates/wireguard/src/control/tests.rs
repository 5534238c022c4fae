//! The hub over an interface that is not there: it keeps peers as WireGuard does, and lies on demand.

use std::sync::Arc;

use common::domain::{VpnNetwork, WireguardPrivateKey};
use tokio::time::advance;

use super::*;
use crate::contract::keeps_its_promises;

mod pretended;

use pretended::{Lie, Pretended};

#[tokio::test]
async fn the_hub_keeps_every_promise() {
    let (hub, _) = start();
    keeps_its_promises(&hub, network()).await.unwrap();
}

#[tokio::test]
async fn the_hub_keeps_every_promise_when_the_kernel_tells_each_peer_in_two_parts() {
    let (hub, device) = start();
    device.lie(Lie::SplitPeers);
    keeps_its_promises(&hub, network()).await.unwrap();
}

#[tokio::test]
async fn an_interface_with_another_key_is_never_written_to() {
    let (hub, device) = start();
    let found = WireguardPrivateKey::generate().public_key();
    device.has_key(Some(*found.as_bytes()));
    let peer = peer(2);

    for result in [
        hub.ensure_peers(&[peer]).await,
        hub.remove_peers(&[peer.key]).await,
        hub.identity().await.map(drop),
        hub.peers().await.map(drop),
    ] {
        assert!(
            matches!(result, Err(HubError::WrongIdentity { found: key, .. }) if key == found),
            "{result:?}"
        );
    }
    assert_eq!(device.changes(), 0);
}

#[tokio::test]
async fn an_interface_that_is_missing_or_has_no_key_is_never_written_to() {
    let (hub, device) = start();
    hub.ensure_peers(&[peer(2)]).await.unwrap();
    let before = device.changes();

    device.has_key(None);
    device.is_replaced();
    let keyless = hub.ensure_peers(&[peer(3)]).await;
    device.lie(Lie::Missing);
    let missing = hub.ensure_peers(&[peer(3)]).await;

    assert!(matches!(keyless, Err(HubError::Unavailable { .. })), "{keyless:?}");
    assert!(matches!(missing, Err(HubError::Unavailable { .. })), "{missing:?}");
    assert_eq!(device.changes(), before);
}

#[tokio::test]
async fn a_yes_that_changed_nothing_is_found_out() {
    let (hub, device) = start();
    device.lie(Lie::IgnoreChanges);
    let peer = peer(2);

    let result = hub.ensure_peers(&[peer]).await;

    assert!(matches!(result, Err(HubError::NotApplied { keys }) if keys == [peer.key]));
}

#[tokio::test]
async fn what_somebody_else_removed_a_moment_ago_is_added_again() {
    let (hub, device) = start();
    let peer = peer(2);
    hub.ensure_peers(&[peer]).await.unwrap();

    device.loses_its_peers();
    hub.ensure_peers(&[peer]).await.unwrap();

    assert!(hub.peers().await.unwrap()[0].has_only(peer.address));
}

#[tokio::test]
async fn a_half_done_change_is_finished_by_the_next_call() {
    let (hub, device) = start();
    let peers = [peer(2), peer(3)];

    device.lie(Lie::FailHalfWay);
    let broken = hub.ensure_peers(&peers).await;
    device.tells_the_truth();
    hub.ensure_peers(&peers).await.unwrap();

    assert!(matches!(broken, Err(HubError::Unavailable { .. })), "{broken:?}");
    assert_eq!(hub.peers().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_that_no_device_can_have_does_not_keep_an_address() {
    let (hub, device) = start();
    let peer = peer(2);
    device.has_peer([0; 32], peer.address);

    hub.ensure_peers(&[peer]).await.unwrap();

    assert!(hub.peers().await.unwrap()[0].has_only(peer.address));
    assert_eq!(device.peers(), 1);
}

#[tokio::test]
async fn a_new_peer_is_called_once_where_it_was_last_seen_and_a_known_one_is_not() {
    let (hub, device) = start();
    let seen = peer(2).last_seen_at("192.0.2.7:4000".parse().ok());

    hub.ensure_peers(&[seen]).await.unwrap();
    hub.ensure_peers(&[PeerConfig {
        address: address(3),
        ..seen
    }])
    .await
    .unwrap();

    assert_eq!(device.calls(), [seen.key]);
    assert_eq!(device.kept_alive(), 0);
}

#[tokio::test]
async fn after_its_sessions_are_lost_a_hub_calls_whom_it_knows_where_to_find() {
    let (hub, device) = start();
    let seen = peer(2).last_seen_at("192.0.2.7:4000".parse().ok());
    hub.ensure_peers(&[seen, peer(3)]).await.unwrap();

    hub.call_peers().await.unwrap();

    assert_eq!(device.calls(), [seen.key, seen.key]);
    assert_eq!(device.kept_alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_large_hub_is_read_at_most_once_a_second_and_lost_changes_are_found_then() {
    let (hub, device) = start();
    let peers: Vec<_> = network()
        .device_addresses()
        .skip(10)
        .take(SMALL + 1)
        .map(peer_at)
        .collect();
    hub.ensure_peers(&peers).await.unwrap();
    let before = device.readings();

    hub.ensure_peers(&[peer(2)]).await.unwrap();
    hub.ensure_peers(&[peer(3)]).await.unwrap();
    device.lie(Lie::IgnoreChanges);
    hub.ensure_peers(&[peer(4)]).await.unwrap();
    assert_eq!(hub.peers().await.unwrap().len(), SMALL + 4);
    assert_eq!(device.readings(), before);

    advance(FRESH).await;
    assert_eq!(hub.peers().await.unwrap().len(), SMALL + 3);
    assert_eq!(device.readings(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_never_answers_costs_each_caller_its_deadline_and_one_thread_altogether() {
    let (hub, device) = start();
    let release = device.hangs();

    let (first, second, ()) = tokio::join!(hub.identity(), hub.peers(), advance(DEADLINE));
    drop(release);

    assert!(matches!(first, Err(HubError::Unavailable { .. })), "{first:?}");
    assert!(matches!(second, Err(HubError::Unavailable { .. })), "{second:?}");
    assert_eq!(hub.identity().await.unwrap(), device.identity());
    assert_eq!(device.most_at_once(), 1);
}

#[tokio::test]
async fn an_interface_gets_its_key_back() {
    let (hub, device) = start();
    device.has_key(None);

    let key = device.private_key();
    assert!(!hub.is_configured(51820).await.unwrap());
    hub.configure(key, 51820).await.unwrap();

    assert!(hub.is_configured(51820).await.unwrap());
    assert!(!hub.is_configured(51821).await.unwrap());
    assert_eq!(hub.identity().await.unwrap(), device.identity());
}

fn start() -> (ControlHub, Arc<Pretended>) {
    let device = Arc::new(Pretended::new());
    (
        ControlHub::over(Arc::clone(&device) as Arc<dyn ControlledDevice>, device.identity()),
        device,
    )
}

fn network() -> VpnNetwork {
    VpnNetwork::new("10.8.0.0/16".parse().unwrap(), None).unwrap()
}

fn address(last: u8) -> common::domain::VpnAddress {
    network().device_address([10, 8, 0, last].into()).unwrap()
}

fn peer(last: u8) -> PeerConfig {
    peer_at(address(last))
}

fn peer_at(address: common::domain::VpnAddress) -> PeerConfig {
    PeerConfig::new(WireguardPrivateKey::generate().public_key(), address)
}
