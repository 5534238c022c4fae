use std::time::Duration;

use common::domain::{Clock, DeviceRegistry, LiveFacts, Timestamp, WireguardKey};

use super::databases::TestDatabase;
use super::fleet::{Fleet, id};

pub(crate) async fn facts_are_written_at_most_every_twenty_five_seconds<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let key = fleet.enroll("pump-7").await.wireguard_key.unwrap();
    let handshake = Some(fleet.clock.now());
    fleet.store.record_live(&[facts(key, handshake, 1)]).await.unwrap();
    assert_eq!(recorded(&fleet).await, Some(facts(key, handshake, 1)));

    fleet.clock.advance(Duration::from_secs(24));
    fleet.store.record_live(&[facts(key, handshake, 2)]).await.unwrap();
    assert_eq!(recorded(&fleet).await, Some(facts(key, handshake, 1)));

    fleet.clock.advance(Duration::from_secs(1));
    fleet.store.record_live(&[facts(key, handshake, 3)]).await.unwrap();
    assert_eq!(recorded(&fleet).await, Some(facts(key, handshake, 3)));
    fleet.end().await;
}

pub(crate) async fn of_a_device_that_never_came_nothing_is_written<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let key = fleet.enroll("pump-7").await.wireguard_key.unwrap();

    fleet.store.record_live(&[facts(key, None, 0)]).await.unwrap();
    assert_eq!((recorded(&fleet).await, events(&fleet).await), (None, 0));

    let handshake = Some(fleet.clock.now());
    fleet.store.record_live(&[facts(key, handshake, 1)]).await.unwrap();
    fleet.clock.advance(Duration::from_mins(4));
    fleet.store.record_live(&[facts(key, None, 2)]).await.unwrap();
    assert_eq!(
        (recorded(&fleet).await, events(&fleet).await),
        (Some(facts(key, None, 2)), 2)
    );
    fleet.end().await;
}

pub(crate) async fn coming_and_going_are_written_at_once_and_become_events<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let key = fleet.enroll("pump-7").await.wireguard_key.unwrap();
    fleet.store.record_live(&[facts(key, None, 0)]).await.unwrap();
    assert_eq!(events(&fleet).await, 0);

    fleet.clock.advance(Duration::from_secs(1));
    let handshake = Some(fleet.clock.now());
    fleet.store.record_live(&[facts(key, handshake, 1)]).await.unwrap();
    assert_eq!(recorded(&fleet).await, Some(facts(key, handshake, 1)));
    assert_eq!(events(&fleet).await, 1);

    fleet.clock.advance(Duration::from_secs(170));
    fleet.store.record_live(&[facts(key, handshake, 2)]).await.unwrap();
    fleet.clock.advance(Duration::from_secs(11));
    fleet.store.record_live(&[facts(key, handshake, 3)]).await.unwrap();
    assert_eq!(recorded(&fleet).await, Some(facts(key, handshake, 3)));
    assert_eq!(events(&fleet).await, 2);

    let handshake = Some(fleet.clock.now());
    fleet.store.record_live(&[facts(key, handshake, 4)]).await.unwrap();
    fleet.quarantine("pump-7").await.unwrap();
    assert_eq!((recorded(&fleet).await, events(&fleet).await), (None, 4));
    fleet.end().await;
}

pub(crate) async fn facts_about_nobodys_peer_are_not_written<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let key = fleet.enroll("pump-7").await.wireguard_key.unwrap();
    fleet.retire("pump-7").await.unwrap();
    let mut foreign = facts(key, Some(fleet.clock.now()), 1);
    foreign.device_id = id("nobody");

    fleet
        .store
        .record_live(&[foreign, facts(key, Some(fleet.clock.now()), 1)])
        .await
        .unwrap();

    assert_eq!((recorded(&fleet).await, events(&fleet).await), (None, 0));
    fleet.end().await;
}

fn facts(key: WireguardKey, last_handshake_at: Option<Timestamp>, received_bytes: i64) -> LiveFacts {
    LiveFacts {
        device_id: id("pump-7"),
        key,
        last_handshake_at,
        endpoint: Some("192.0.2.7:51820".to_owned()),
        received_bytes,
        sent_bytes: 2,
    }
}

async fn recorded<D: TestDatabase>(fleet: &Fleet<D>) -> Option<LiveFacts> {
    fleet.view("pump-7").await.live
}

async fn events<D: TestDatabase>(fleet: &Fleet<D>) -> i64 {
    fleet.database.count("SELECT count(*) FROM device_event").await
}
