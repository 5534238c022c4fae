//! What a device with a certificate does: renews it, shows that it lives, brings its key.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::domain::WireguardKey;
use http::StatusCode;
use serde_json::{Value, json};
use wireguard::quick::WgQuickConfig;

use crate::support::{Mood, NOW, TestDevice, World, wireguard_key};

const ID: &str = "pump-7";
const RENEW: &str = "/devices/pump-7/renew";
const CHECK_IN: &str = "/devices/pump-7/checkin";

#[tokio::test]
async fn a_renewed_certificate_is_pending_until_it_is_used_and_then_the_old_one_ends() {
    let world = World::new().await;
    let (device, old) = world.certified(ID).await;

    let renewed = world.as_device("POST", RENEW, &old, Some(&csr(&device))).await;

    assert_eq!(renewed.status, StatusCode::CREATED, "{renewed:?}");
    let new = renewed.field("certificate");
    assert_ne!(new, old);
    assert_eq!(renewed.json().as_object().unwrap().len(), 6);
    let still = world.as_device("POST", CHECK_IN, &old, None).await;
    assert_eq!(
        still.status,
        StatusCode::OK,
        "the old one is good until the new one was used"
    );

    let proof = world.as_device("POST", CHECK_IN, &new, None).await;
    assert_eq!(proof.json()["server_time"], "2026-05-01T12:00:00Z");
    let late = world.as_device("POST", CHECK_IN, &old, None).await;
    assert_eq!(late.status_and_slug(), (401, "unauthenticated".to_owned()));
    assert!(world.store.check_invariants().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_certificate_until_it_is_used() {
    let world = World::new().await;
    let (device, old) = world.certified(ID).await;
    let renew = async |leaf: &str| world.as_device("POST", RENEW, leaf, Some(&csr(&device))).await;

    let (first, second) = (renew(&old).await, renew(&old).await);
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(first.field("certificate_chain"), second.field("certificate_chain"));

    let third = renew(&first.field("certificate")).await;
    assert_eq!(third.status, StatusCode::CREATED);
    assert_ne!(third.field("certificate"), first.field("certificate"));
}

#[tokio::test]
async fn while_the_authority_is_away_a_renewal_waits() {
    let world = World::new().await;
    let (device, old) = world.certified(ID).await;
    world.ca.is(Mood::Away);

    let waiting = world.as_device("POST", RENEW, &old, Some(&csr(&device))).await;
    assert_eq!(waiting.status, StatusCode::ACCEPTED);
    assert!(waiting.headers.contains_key("retry-after"));

    world.ca.is(Mood::Good);
    let renewed = world.as_device("POST", RENEW, &old, Some(&csr(&device))).await;
    assert_eq!(renewed.status, StatusCode::OK);
}

#[tokio::test]
async fn b_006_a_certificate_opens_only_its_own_devices_routes_and_only_while_it_counts() {
    let world = World::new().await;
    let (device, leaf) = world.certified(ID).await;
    world.enrolled("pump-8").await;

    let neighbour = world.as_device("POST", "/devices/pump-8/checkin", &leaf, None).await;
    assert_eq!(neighbour.status_and_slug(), (403, "device-mismatch".to_owned()));
    let stranger = World::new().await;
    let (_, foreign) = stranger.certified(ID).await;
    let foreign = world.as_device("POST", CHECK_IN, &foreign, None).await;
    assert_eq!(foreign.status_and_slug(), (401, "unauthenticated".to_owned()));

    world.admin("POST", "/devices/pump-7/quarantine").await;
    let shut_out = world.as_device("POST", RENEW, &leaf, Some(&csr(&device))).await;
    assert_eq!(shut_out.status_and_slug(), (403, "device-quarantined".to_owned()));
    world.admin("POST", "/devices/pump-7/release").await;
    world.clock.advance(Duration::from_hours(24 * 31));
    let ended = world.as_device("POST", CHECK_IN, &leaf, None).await;
    assert_eq!(ended.status_and_slug(), (401, "unauthenticated".to_owned()));
}

#[tokio::test]
async fn a_decommissioned_device_loses_every_certificate_it_has() {
    let world = World::new().await;
    let (device, old) = world.certified(ID).await;
    let new = world
        .as_device("POST", RENEW, &old, Some(&csr(&device)))
        .await
        .field("certificate");

    world.admin("DELETE", "/devices/pump-7").await;

    for leaf in [&old, &new] {
        let answer = world.as_device("POST", CHECK_IN, leaf, None).await;
        assert_eq!(answer.status_and_slug(), (401, "unauthenticated".to_owned()));
    }
    assert_eq!(world.ca.revoked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_device_that_is_shut_out_while_it_renews_does_not_get_its_next_certificate() {
    for (method, path, expected) in [
        ("POST", "/devices/pump-7/quarantine", (403, "device-quarantined")),
        ("DELETE", "/devices/pump-7", (410, "device-decommissioned")),
    ] {
        let world = World::new().await;
        let (device, leaf) = world.certified(ID).await;
        world.ca.hesitates();
        let shut_out = async { assert!(world.admin(method, path).await.status.is_success()) };
        let request = csr(&device);

        let (refused, ()) = tokio::join!(
            world.as_device("POST", RENEW, &leaf, Some(&request)),
            world.ca.goes_on_after(shut_out)
        );

        assert_eq!(refused.status_and_slug(), (expected.0, expected.1.to_owned()));
        let records = world.admin("GET", "/audit?device_id=pump-7").await.json();
        let mut records = records["records"].as_array().unwrap().iter();
        assert!(
            records.any(|record| record["action"] == "certificate.renewal_refused"),
            "{path}"
        );
        world.work().await;
        let taken_back: HashSet<_> = world.ca.revoked.lock().unwrap().iter().cloned().collect();
        assert_eq!(taken_back.len(), if method == "DELETE" { 2 } else { 0 }, "{path}");
    }
}

#[tokio::test]
async fn a_device_that_is_let_in_again_fetches_the_certificate_that_was_signed_meanwhile() {
    let world = World::new().await;
    let (device, leaf) = world.certified(ID).await;
    let renew = async || world.as_device("POST", RENEW, &leaf, Some(&csr(&device))).await;
    world.ca.hesitates();
    let shut_out = async {
        let answer = world.admin("POST", "/devices/pump-7/quarantine").await;
        assert!(answer.status.is_success(), "{answer:?}");
    };

    let (refused, ()) = tokio::join!(renew(), world.ca.goes_on_after(shut_out));
    world.admin("POST", "/devices/pump-7/release").await;
    let signed = world.ca.signed.load(Ordering::Relaxed);
    let renewed = renew().await;

    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(renewed.status, StatusCode::OK, "{renewed:?}");
    assert_eq!(world.ca.signed.load(Ordering::Relaxed), signed);
}

#[tokio::test]
async fn a_renewal_that_a_new_enrollment_overtakes_is_refused() {
    let world = World::new().await;
    let (device, leaf) = world.certified(ID).await;
    let (token, next) = (world.token_for(ID).await, TestDevice::new(ID));
    world.admin("POST", "/devices/pump-7/allow-reenroll").await;
    world.ca.hesitates();
    let enrolled_anew = async {
        let answer = world.enroll(ID, &token, &next.request()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    };
    let request = csr(&device);

    let (refused, ()) = tokio::join!(
        world.as_device("POST", RENEW, &leaf, Some(&request)),
        world.ca.goes_on_after(enrolled_anew)
    );

    assert_eq!(refused.status_and_slug(), (409, "enrollment-conflict".to_owned()));
}

#[tokio::test]
async fn a_device_renews_for_itself_and_with_a_key_that_is_nobody_elses() {
    let world = World::new().await;
    let (_, leaf) = world.certified(ID).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let taken = TestDevice::with_key("pump-8", &key);
    let answer = world
        .enroll("pump-8", &world.token_for("pump-8").await, &taken.request())
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);

    let other_name = world
        .as_device("POST", RENEW, &leaf, Some(&csr(&TestDevice::new("pump-8"))))
        .await;
    assert_eq!(other_name.status_and_slug(), (422, "csr-rejected".to_owned()));
    let other_key = world
        .as_device("POST", RENEW, &leaf, Some(&csr(&TestDevice::with_key(ID, &key))))
        .await;
    assert_eq!(other_key.status_and_slug(), (409, "key-already-used".to_owned()));
    let fresh_key = world
        .as_device("POST", RENEW, &leaf, Some(&csr(&TestDevice::new(ID))))
        .await;
    assert_eq!(fresh_key.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_check_in_without_a_recent_handshake_puts_the_peer_in_again() {
    let world = World::new().await;
    let (device, leaf) = world.certified(ID).await;
    world.hub.forgets(device.wireguard_key);

    world.as_device("POST", CHECK_IN, &leaf, None).await;
    assert!(world.hub.knows(device.wireguard_key));

    *world.hub.handshake.lock().unwrap() = Some(NOW);
    world.services.observer.look().await.unwrap();
    world.hub.forgets(device.wireguard_key);
    world.as_device("POST", CHECK_IN, &leaf, None).await;
    assert!(
        !world.hub.knows(device.wireguard_key),
        "a peer that shakes hands is left alone"
    );

    world.hub.goes_away();
    world.clock.advance(Duration::from_mins(4));
    let answer = world.as_device("POST", CHECK_IN, &leaf, None).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "a hub that is away is not the device's business"
    );
}

#[tokio::test]
async fn a_device_that_is_allowed_to_brings_another_key_and_keeps_its_address() {
    let world = World::new().await;
    let (device, leaf) = world.certified(ID).await;
    let other = world.enrolled("pump-8").await;
    let key = wireguard_key();
    let bring = async |key: Value| {
        let body = json!({ "public_key": key });
        world
            .as_device("PUT", "/devices/pump-7/wireguard", &leaf, Some(&body))
            .await
    };

    let allow = async || world.admin("POST", "/devices/pump-7/allow-reenroll").await;

    let refused = bring(json!(key)).await;
    assert_eq!(refused.status_and_slug(), (409, "already-enrolled".to_owned()));
    assert!(allow().await.status.is_success());
    let answer = bring(json!(key)).await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json()["wireguard_ip"], "10.8.0.2");
    WgQuickConfig::parse(&answer.field("wireguard_config")).unwrap();
    assert!(world.hub.knows(key) && !world.hub.knows(device.wireguard_key));
    assert_eq!(bring(json!(key)).await.status, StatusCode::OK);
    allow().await;
    assert_eq!(bring(json!(other.wireguard_key)).await.slug(), "wg-key-in-use");
    assert_eq!(bring(json!(device.wireguard_key)).await.slug(), "wg-key-in-use");
    assert_eq!(bring(json!(world.hub.key())).await.slug(), "wg-key-invalid");
    assert_eq!(bring(json!("hello")).await.slug(), "wg-key-invalid");
    world.work().await;
    assert!(world.hub.knows(key));
}

#[tokio::test]
async fn a_device_that_is_shut_out_while_it_brings_a_key_does_not_get_back_in_with_it() {
    for (method, path, expected) in [
        ("POST", "/devices/pump-7/quarantine", (403, "device-quarantined")),
        ("DELETE", "/devices/pump-7", (410, "device-decommissioned")),
    ] {
        let world = World::new().await;
        let (_, leaf) = world.certified(ID).await;
        world.admin("POST", "/devices/pump-7/allow-reenroll").await;
        let key = wireguard_key();
        let body = json!({ "public_key": key });
        world.hub.hesitates();
        let shut_out = async { assert!(world.admin(method, path).await.status.is_success()) };

        let (refused, ()) = tokio::join!(
            world.as_device("PUT", "/devices/pump-7/wireguard", &leaf, Some(&body)),
            world.hub.goes_on_after(shut_out)
        );

        assert_eq!(refused.status_and_slug(), (expected.0, expected.1.to_owned()));
        assert!(!world.hub.knows(key), "{path}");
        let records = world.admin("GET", "/audit?device_id=pump-7").await.json();
        let mut records = records["records"].as_array().unwrap().iter();
        assert!(records.any(|record| record["action"] == "device.key_refused"), "{path}");
    }
}

#[tokio::test]
async fn of_two_keys_that_a_device_brings_at_once_the_one_on_record_stays() {
    let world = World::new().await;
    let (_, leaf) = world.certified(ID).await;
    let bring = async |key: WireguardKey| {
        world.admin("POST", "/devices/pump-7/allow-reenroll").await;
        let body = json!({ "public_key": key });
        world
            .as_device("PUT", "/devices/pump-7/wireguard", &leaf, Some(&body))
            .await
    };
    let (first, second) = (wireguard_key(), wireguard_key());
    world.hub.hesitates();
    let other = async { assert_eq!(bring(second).await.status, StatusCode::OK) };

    let (refused, ()) = tokio::join!(bring(first), world.hub.goes_on_after(other));

    assert_eq!(refused.status_and_slug(), (409, "enrollment-conflict".to_owned()));
    world.work().await;
    assert!(world.hub.knows(second) && !world.hub.knows(first));
}

#[tokio::test]
async fn what_is_not_configured_is_null() {
    let world = World::new().await;
    let (_, leaf) = world.certified(ID).await;

    let answer = world
        .as_device("GET", "/devices/pump-7/configuration", &leaf, None)
        .await;

    let nothing = Value::Null;
    let body = answer.json();
    assert_eq!(
        (&body["mqtt_url"], &body["hawkbit"], &body["influx"]),
        (&nothing, &nothing, &nothing)
    );
    assert_eq!(body["server_time"], "2026-05-01T12:00:00Z");
}

fn csr(device: &TestDevice) -> Value {
    json!({ "csr": device.csr })
}
