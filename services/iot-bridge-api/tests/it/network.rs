//! The device network as a whole: its prefixes, its hub, and how full it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use iot_bridge_api::app::reconcile::{Reconciler, Swept};
use serde_json::{Value, json};

use crate::support::{Lease, TestDevice, World};

/// Room for five devices.
const SMALL: &str = "10.8.0.0/29";
/// Room for one.
const ONE_DEVICE: &str = "10.8.0.0/30";

#[tokio::test]
async fn a_full_network_gets_a_prefix_while_everything_runs() {
    let world = World::with_network(SMALL).await;
    fill(&world, 5).await;
    let device = TestDevice::new("pump-5");
    let token = world.token_for("pump-5").await;
    let full = world.enroll("pump-5", &token, &device.request()).await;
    assert_eq!(full.status_and_slug(), (503, "address-pool-exhausted".to_owned()));

    let added = add_prefix(&world, "10.9.0.0/24").await;

    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    assert_eq!(added.json()["prefixes"], json!(["10.8.0.0/29", "10.9.0.0/24"]));
    let served = world.hub.served.lock().unwrap().unwrap();
    assert_eq!(served.further_prefixes().count(), 1);
    let enrolled = world.enroll("pump-5", &token, &device.request()).await;
    assert_eq!(enrolled.status, StatusCode::CREATED, "{enrolled:?}");
    assert_eq!(enrolled.field("wireguard_ip"), "10.9.0.1");
    assert!(enrolled.field("wireguard_config").contains("AllowedIPs = 10.8.0.1/32"));
    assert!(world.hub.knows(device.wireguard_key));
}

#[tokio::test]
async fn while_the_hub_is_away_no_address_of_a_new_prefix_is_given_out() {
    let world = World::with_network(SMALL).await;
    fill(&world, 5).await;
    world.hub.goes_away();

    let added = add_prefix(&world, "10.9.0.0/24").await;

    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    assert_eq!(added.json()["prefixes"], json!(["10.8.0.0/29"]));
    assert_eq!(added.json()["hub"], "away");
    let token = world.token_for("pump-5").await;
    let still_full = world
        .enroll("pump-5", &token, &TestDevice::new("pump-5").request())
        .await;
    assert_eq!(still_full.slug(), "address-pool-exhausted");
    world.hub.comes_back();
    world.services.addressing.take_up().await.unwrap();
    let enrolled = world
        .enroll("pump-5", &token, &TestDevice::new("pump-5").request())
        .await;
    assert_eq!(enrolled.status, StatusCode::CREATED, "{enrolled:?}");
}

#[tokio::test]
async fn a_prefix_that_does_not_fit_is_refused_and_only_an_admin_adds_one() {
    let world = World::new().await;

    for (prefix, status, slug) in [
        ("10.8.0.0/16", 409, "prefix-overlaps"),
        ("8.8.8.0/24", 422, "prefix-invalid"),
        ("10.9.0.0/31", 422, "prefix-invalid"),
        ("the moon", 422, "invalid-field"),
    ] {
        let answer = add_prefix(&world, prefix).await;
        assert_eq!(answer.status_and_slug(), (status, slug.to_owned()), "{prefix}");
    }
    let operator = world
        .people
        .token(world.clock_now(), "fleet-operator", &["/fleets/default"]);
    for (method, path) in [
        ("GET", "/network"),
        ("POST", "/network/prefixes"),
        ("PUT", "/network/hub"),
    ] {
        let answer = world.ask(method, path, Some(&operator), None).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
}

#[tokio::test]
async fn when_four_fifths_of_the_addresses_are_taken_somebody_is_told() {
    let world = World::with_network(SMALL).await;
    fill(&world, 3).await;
    world.services.addressing.count().await.unwrap();
    let ready = world.ask("GET", "/readyz", None, None).await.json();
    assert_eq!(ready["dependencies"]["vpn"].get("hint"), None);

    let token = world.token_for("pump-4").await;
    world
        .enroll("pump-4", &token, &TestDevice::new("pump-4").request())
        .await;
    world.services.addressing.count().await.unwrap();

    let ready = world.ask("GET", "/readyz", None, None).await;
    assert_eq!(ready.status, StatusCode::OK);
    let hint = ready.json()["dependencies"]["vpn"]["hint"].clone();
    assert!(hint.as_str().unwrap().contains("add a prefix"), "{hint}");
    let metrics = world.ask("GET", "/metrics", None, None).await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert!(metrics.contains("vpn_addresses{state=\"in_use\"} 4"), "{metrics}");
    assert!(metrics.contains("vpn_addresses{state=\"free\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_hub_with_another_key_is_never_written_to() {
    let world = World::new().await;
    let device = world.enrolled("pump-7").await;
    world.hub.forgets(device.wireguard_key);
    let found = world.hub.is_another_one();
    let writes = world.hub.writes.load(Ordering::Relaxed);

    let swept = world.services.reconciler.sweep().await;
    let token = world.token_for("pump-8").await;
    let enrolled = world
        .enroll("pump-8", &token, &TestDevice::new("pump-8").request())
        .await;
    let quarantined = world.admin("POST", "/devices/pump-7/quarantine").await;

    assert!(swept.is_err(), "{swept:?}");
    assert_eq!(enrolled.status_and_slug(), (502, "hub-bad-answer".to_owned()));
    assert!(quarantined.status.is_success(), "{quarantined:?}");
    assert_eq!(world.hub.writes.load(Ordering::Relaxed), writes);
    let ready = world.ask("GET", "/readyz", None, None).await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    let view = world.admin("GET", "/network").await.json();
    assert_eq!(
        (&view["hub"], &view["hub_public_key"]),
        (&json!("wrong"), &json!(found))
    );
}

#[tokio::test]
async fn an_admin_accepts_another_hub() {
    let world = World::new().await;
    let device = world.enrolled("pump-7").await;
    world.hub.forgets(device.wireguard_key);
    let found = world.hub.is_another_one();
    let admin = world.people.token(world.clock_now(), "fleet-admin", &[]);

    let body = json!({ "public_key": found });
    let answer = world.ask("PUT", "/network/hub", Some(&admin), Some(&body)).await;

    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    world.services.reconciler.sweep().await.unwrap();
    assert!(world.hub.knows(device.wireguard_key));
    let wrong = json!({ "public_key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" });
    let refused = world.ask("PUT", "/network/hub", Some(&admin), Some(&wrong)).await;
    assert_eq!(refused.status_and_slug(), (422, "invalid-field".to_owned()));
}

#[tokio::test]
async fn a_device_that_proves_itself_with_a_stale_tunnel_is_taken_out_and_in_again() {
    let world = World::new().await;
    let (device, leaf) = world.certified("pump-7").await;
    let check_in = async |age: Duration| {
        // What is on record is written at most every thirty seconds.
        world.clock.advance(Duration::from_secs(31));
        *world.hub.handshake.lock().unwrap() = Some(world.clock_now() - age);
        world.services.observer.look().await.unwrap();
        let writes = world.hub.writes.load(Ordering::Relaxed);
        let answer = world.as_device("POST", "/devices/pump-7/checkin", &leaf, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert!(!answer.field("server_time").is_empty());
        world.hub.writes.load(Ordering::Relaxed) - writes
    };

    assert_eq!(check_in(Duration::from_secs(100)).await, 0);
    assert_eq!(check_in(Duration::from_secs(181)).await, 2);

    assert!(world.hub.knows(device.wireguard_key));
}

#[tokio::test]
async fn a_session_that_the_hub_has_seen_since_is_left_alone() {
    let world = World::new().await;
    let (_, leaf) = world.certified("pump-7").await;
    *world.hub.handshake.lock().unwrap() = Some(world.clock_now());
    let writes = world.hub.writes.load(Ordering::Relaxed);

    // Nobody has written down yet what the hub sees.
    world.as_device("POST", "/devices/pump-7/checkin", &leaf, None).await;

    assert_eq!(world.hub.writes.load(Ordering::Relaxed), writes);
}

#[tokio::test]
async fn of_several_processes_one_corrects_the_hub_at_a_time() {
    let world = World::new().await;
    let device = world.enrolled("pump-7").await;
    world.hub.forgets(device.wireguard_key);
    let writes = world.hub.writes.load(Ordering::Relaxed);
    let (directory, network) = (Arc::new(world.store.clone()), Arc::clone(&world.services.network));
    let other = Reconciler::new(directory, Arc::new(Lease::taken_by_another()), network);

    let while_another_does = other.sweep().await;

    assert!(while_another_does.is_err(), "{while_another_does:?}");
    assert_eq!(world.hub.writes.load(Ordering::Relaxed), writes);
    assert_eq!(other.differences().await.unwrap().len(), 1);
    world.services.reconciler.sweep().await.unwrap();
    assert!(world.hub.knows(device.wireguard_key));
    other.sweep().await.unwrap(); // nothing to correct, so nobody has to be asked
}

#[tokio::test]
async fn the_hubs_own_key_is_refused_while_the_hub_is_away_as_well() {
    let world = World::new().await;
    world.enrolled("pump-1").await;
    let (request, token) = (with_key_of_hub(&world), world.token_for("pump-7").await);
    let while_it_answers = world.enroll("pump-7", &token, &request).await;

    // A process that has just started has not met the hub.
    let world = world.restart(true).await;
    world.hub.goes_away();
    let while_it_is_away = world.enroll("pump-7", &token, &request).await;

    for refused in [while_it_answers, while_it_is_away] {
        assert_eq!(refused.status_and_slug(), (422, "wg-key-invalid".to_owned()));
    }
    let shown = world.admin("GET", "/devices/pump-7").await;
    assert_eq!(shown.status, StatusCode::NOT_FOUND, "nobody was admitted");
}

#[tokio::test]
async fn a_device_on_record_with_the_hubs_own_key_keeps_nobody_off_the_hub() {
    let world = World::new().await;
    let (request, token) = (with_key_of_hub(&world), world.token_for("pump-7").await);
    world.hub.goes_away(); // before anybody knew which hub there is
    let waiting = world.enroll("pump-7", &token, &request).await;
    assert_eq!(waiting.status, StatusCode::ACCEPTED, "{waiting:?}");
    world.hub.comes_back();
    let others = [world.enrolled("pump-1").await, world.enrolled("pump-2").await];

    world.hub.members.lock().unwrap().clear();
    let restored = world.services.reconciler.sweep().await.unwrap();

    assert_eq!(restored, Swept { added: 2, removed: 0 });
    assert!(others.iter().all(|device| world.hub.knows(device.wireguard_key)));
    assert_eq!(world.hub.count(), 2, "the hub is no member of its own");
    assert_eq!(world.services.reconciler.sweep().await.unwrap(), Swept::default());
    assert_eq!(
        world.services.reconciler.differences().await.unwrap(),
        ["the record of a device has the hub's own key, so it is no member: `10.8.0.2`"]
    );
    let refused = world.enroll("pump-7", &token, &request).await;
    assert_eq!(refused.status_and_slug(), (422, "wg-key-invalid".to_owned()));
}

#[tokio::test]
async fn a_member_that_the_hub_refuses_keeps_nobody_else_off_it() {
    let world = World::new().await;
    let mut devices = Vec::new();
    for number in 0..5 {
        devices.push(world.enrolled(&format!("pump-{number}")).await);
    }
    let refused = devices.remove(2).wireguard_key;
    world.hub.refuses(Some(refused));

    world.hub.members.lock().unwrap().clear();
    let restored = world.services.reconciler.sweep().await.unwrap();

    assert_eq!(restored, Swept { added: 4, removed: 0 });
    assert!(devices.iter().all(|device| world.hub.knows(device.wireguard_key)));
    assert_eq!(world.services.reconciler.sweep().await.unwrap(), Swept::default());
    world.hub.refuses(None);
    assert_eq!(world.services.reconciler.sweep().await.unwrap().added, 1);
    assert!(world.hub.knows(refused));
}

#[tokio::test]
async fn a_device_that_is_decommissioned_before_it_is_certified_takes_no_address_from_the_next() {
    for hub_is_there in [true, false] {
        let world = World::with_network(ONE_DEVICE).await;
        let (old, next) = (TestDevice::new("pump-7"), TestDevice::new("pump-8"));
        let (token, request) = (world.token_for("pump-7").await, old.request());
        world.ca.hesitates();
        let mut told = 0;
        let meanwhile = async {
            decommission_long_ago(&world, "pump-7").await;
            world.hub.is_away.store(!hub_is_there, Ordering::Relaxed);
            let status = enroll(&world, "pump-8", &next).await;
            assert_eq!(status == StatusCode::CREATED, hub_is_there, "{status}");
            world.hub.comes_back();
            told = world.hub.writes.load(Ordering::Relaxed);
        };

        let enrolls = world.enroll("pump-7", &token, &request);
        let (refused, ()) = tokio::join!(enrolls, world.ca.goes_on_after(meanwhile));

        assert_eq!(refused.status_and_slug(), (410, "device-decommissioned".to_owned()));
        assert_eq!(world.hub.knows(next.wireguard_key), hub_is_there);
        assert_eq!(
            world.hub.writes.load(Ordering::Relaxed),
            told,
            "the hub had the old one"
        );
    }
}

#[tokio::test]
async fn a_device_that_is_decommissioned_while_the_hub_is_told_takes_no_address_from_the_next() {
    let world = World::with_network(ONE_DEVICE).await;
    let (old, next) = (TestDevice::new("pump-7"), TestDevice::new("pump-8"));
    let (token, request) = (world.token_for("pump-7").await, old.request());
    world.hub.hesitates();
    let meanwhile = async {
        decommission_long_ago(&world, "pump-7").await;
        assert_eq!(enroll(&world, "pump-8", &next).await, StatusCode::CREATED);
    };

    let enrolls = world.enroll("pump-7", &token, &request);
    let (refused, ()) = tokio::join!(enrolls, world.hub.goes_on_after(meanwhile));

    assert_eq!(refused.status_and_slug(), (410, "device-decommissioned".to_owned()));
    assert!(world.hub.knows(next.wireguard_key) && !world.hub.knows(old.wireguard_key));
}

/// Its address is free again.
async fn decommission_long_ago(world: &World, id: &str) {
    let answer = world.admin("DELETE", &format!("/devices/{id}")).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    world.clock.advance(Duration::from_hours(25));
}

async fn enroll(world: &World, id: &str, device: &TestDevice) -> StatusCode {
    world
        .enroll(id, &world.token_for(id).await, &device.request())
        .await
        .status
}

/// What a device posts that gives itself out as the hub.
fn with_key_of_hub(world: &World) -> Value {
    let mut device = TestDevice::new("pump-7");
    device.wireguard_key = world.hub.key();
    device.request()
}

async fn fill(world: &World, devices: usize) {
    for number in 0..devices {
        world.enrolled(&format!("pump-{number}")).await;
    }
}

async fn add_prefix(world: &World, prefix: &str) -> crate::support::Answer {
    let admin = world.people.token(world.clock_now(), "fleet-admin", &[]);
    let body = json!({ "prefix": prefix });
    world.ask("POST", "/network/prefixes", Some(&admin), Some(&body)).await
}
