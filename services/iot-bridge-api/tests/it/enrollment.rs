use std::sync::atomic::Ordering;
use std::time::Duration;

use common::domain::{WireguardKey, WireguardPrivateKey};
use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use wireguard::quick::WgQuickConfig;

use crate::support::{Mood, TestDevice, World, wireguard_key};

#[tokio::test]
async fn a_device_gets_its_certificate_its_address_and_its_place_on_the_hub() {
    let world = World::new().await;
    let device = TestDevice::new("pump-7");
    let mut request = device.request();
    request["device_name"] = json!("Pump 7");
    request["device_type"] = json!("pump");

    let answer = world.enroll("pump-7", &world.token_for("pump-7").await, &request).await;

    assert_eq!(answer.status, StatusCode::CREATED);
    let body = answer.json();
    assert_eq!(body["device_id"], "pump-7");
    assert_eq!(body["wireguard_ip"], "10.8.0.2");
    assert_eq!(body["not_after"], "2026-05-31T12:00:00Z");
    assert_eq!(body["server_time"], "2026-05-01T12:00:00Z");
    let count = |field: &str| body[field].as_str().unwrap().matches("BEGIN CERTIFICATE").count();
    assert_eq!(
        (count("certificate"), count("certificate_chain"), count("ca_chain")),
        (1, 2, 2)
    );
    assert_eq!(body.as_object().unwrap().len(), 8);
    assert!(world.hub.knows(device.wireguard_key));

    let config = body["wireguard_config"].as_str().unwrap();
    assert!(
        config.contains("PrivateKey = <REPLACE_WITH_DEVICE_PRIVATE_KEY>\n"),
        "{config}"
    );
    let config = WgQuickConfig::parse(config).unwrap();
    assert_eq!(
        (config.address.to_string(), config.hub_address.to_string()),
        ("10.8.0.2".into(), "10.8.0.1".into())
    );
    assert_eq!(
        (config.hub_key, config.mtu, config.keepalive_seconds),
        (world.hub.key(), 1420, 25)
    );

    let shown = world.admin("GET", "/devices/pump-7").await.json();
    assert_eq!(
        (&shown["state"], &shown["device_name"]),
        (&json!("enrolled"), &json!("Pump 7"))
    );
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_certificate() {
    let world = World::new().await;
    let (device, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);
    let first = world.enroll("pump-7", &token, &device.request()).await;
    world.clock.advance(Duration::from_mins(1));

    let second = world.enroll("pump-7", &token, &device.request()).await;

    assert_eq!(second.status, StatusCode::OK);
    for field in [
        "certificate",
        "certificate_chain",
        "ca_chain",
        "wireguard_ip",
        "wireguard_config",
        "not_after",
    ] {
        assert_eq!(second.json()[field], first.json()[field], "{field}");
    }
    assert_eq!(world.ca.signed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_token_may_come_as_the_password_of_basic() {
    use base64::Engine as _;
    let world = World::new().await;
    let token = world.token_for("pump-7").await;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("pump-7:{token}"));
    let request = crate::support::post("/devices/pump-7/enroll")
        .header("authorization", format!("Basic {basic}"))
        .body(TestDevice::new("pump-7").request().to_string().into())
        .unwrap();

    assert_eq!(world.send(request).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn two_hundred_parallel_requests_lead_to_one_certificate() {
    let world = std::sync::Arc::new(World::new().await);
    let (device, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);

    let mut running = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (world, token, request) = (world.clone(), token.clone(), device.request());
        running.spawn(async move { world.enroll("pump-7", &token, &request).await });
    }
    let answers = running.join_all().await;

    let with = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!(
        (
            with(StatusCode::CREATED),
            with(StatusCode::OK) + with(StatusCode::ACCEPTED)
        ),
        (1, 199)
    );
    assert_eq!(world.ca.signed.load(Ordering::Relaxed), 1);
    assert_eq!(world.hub.count(), 1);
}

#[tokio::test]
async fn two_hundred_devices_and_one_wireguard_key_are_one_device() {
    let world = std::sync::Arc::new(World::new().await);
    let token = world.batch_token(200).await;
    let key = wireguard_key();
    let mut running = tokio::task::JoinSet::new();
    for index in 0..200 {
        let (world, token, id) = (world.clone(), token.clone(), format!("pump-{index}"));
        running.spawn(async move {
            let request = json!({ "csr": TestDevice::new(&id).csr, "wg_public_key": key });
            world.enroll(&id, &token, &request).await.status_and_slug()
        });
    }
    let answers = running.join_all().await;

    assert_eq!(answers.iter().filter(|(status, _)| *status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|(_, slug)| slug == "wg-key-in-use").count(), 199);
}

#[tokio::test]
async fn while_the_authority_is_away_a_device_waits_and_then_gets_its_certificate() {
    let world = World::new().await;
    let (device, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);
    world.ca.is(Mood::Away);

    let waiting = world.enroll("pump-7", &token, &device.request()).await;

    assert_eq!(waiting.status, StatusCode::ACCEPTED);
    assert!(waiting.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(waiting.json()["waiting_for"], "certificate_authority");
    assert_eq!(world.hub.count(), 0, "no network without a certificate");

    world.ca.is(Mood::Good);
    assert_eq!(
        world.enroll("pump-7", &token, &device.request()).await.status,
        StatusCode::OK
    );
    assert!(world.hub.knows(device.wireguard_key));
}

#[tokio::test]
async fn while_the_hub_is_away_a_device_waits_and_keeps_its_certificate() {
    let world = World::new().await;
    let (device, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);
    world.hub.goes_away();

    let waiting = world.enroll("pump-7", &token, &device.request()).await;

    assert_eq!(
        (waiting.status, &waiting.json()["waiting_for"]),
        (StatusCode::ACCEPTED, &json!("vpn"))
    );
    world.hub.comes_back();
    assert_eq!(
        world.enroll("pump-7", &token, &device.request()).await.status,
        StatusCode::OK
    );
    assert_eq!(world.ca.signed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_hub_that_goes_away_before_it_has_a_device_in_service_gets_it_later() {
    let world = World::new().await;
    let (device, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);
    world.hub.hesitates();

    let request = device.request();
    let (waiting, ()) = tokio::join!(
        world.enroll("pump-7", &token, &request),
        world.hub.goes_on_after(async { world.hub.goes_away() })
    );

    assert_eq!(waiting.status, StatusCode::ACCEPTED);
    assert!(!world.hub.knows(device.wireguard_key));
    world.hub.comes_back();
    world.services.reconciler.sweep().await.unwrap();
    assert!(world.hub.knows(device.wireguard_key));
    assert_eq!(world.enroll("pump-7", &token, &request).await.status, StatusCode::OK);
    assert_eq!(world.ca.signed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_device_that_is_shut_out_before_the_hub_has_it_does_not_stay_there() {
    let world = World::new().await;
    let (device, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);
    world.hub.hesitates();
    let shut_out = async {
        let answer = world.admin("POST", "/devices/pump-7/quarantine").await;
        assert_eq!(answer.status, StatusCode::OK);
    };

    let request = device.request();
    let (refused, ()) = tokio::join!(
        world.enroll("pump-7", &token, &request),
        world.hub.goes_on_after(shut_out)
    );

    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.json());
    assert!(!world.hub.knows(device.wireguard_key));
}

#[tokio::test]
async fn an_authority_that_lies_is_not_believed() {
    for (mood, expected) in [
        (Mood::SignsForAnother, (502, "ca-bad-answer")),
        (Mood::SpeaksHtml, (502, "ca-bad-answer")),
        (Mood::Refuses, (422, "ca-refused")),
    ] {
        let world = World::new().await;
        world.ca.is(mood);
        let answer = world
            .enroll(
                "pump-7",
                &world.token_for("pump-7").await,
                &TestDevice::new("pump-7").request(),
            )
            .await;
        assert_eq!(
            answer.status_and_slug(),
            (expected.0, expected.1.to_owned()),
            "{mood:?}"
        );
        assert_eq!(world.hub.count(), 0, "{mood:?}");
    }
}

#[tokio::test]
async fn without_a_wireguard_key_the_bridge_makes_a_pair_until_it_was_used() {
    let world = World::new().await;
    let (token, request) = (
        world.token_for("pump-7").await,
        json!({ "csr": TestDevice::new("pump-7").csr }),
    );
    let key_of = |answer: &crate::support::Answer| -> WireguardKey {
        let config = WgQuickConfig::parse(answer.json()["wireguard_config"].as_str().unwrap()).unwrap();
        config
            .private_key
            .as_ref()
            .map(WireguardPrivateKey::public_key)
            .unwrap()
    };

    let first = world.enroll("pump-7", &token, &request).await;
    let second = world.enroll("pump-7", &token, &request).await;

    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::OK));
    assert_eq!(first.json()["certificate"], second.json()["certificate"]);
    assert_eq!(first.json()["wireguard_ip"], second.json()["wireguard_ip"]);
    assert!(world.hub.knows(key_of(&second)) && !world.hub.knows(key_of(&first)));

    // The hub has just seen it, and nobody has written that down yet.
    *world.hub.handshake.lock().unwrap() = Some(crate::support::NOW);
    let third = world.enroll("pump-7", &token, &request).await;
    assert_eq!(third.status_and_slug(), (409, "already-enrolled".to_owned()));
}

#[tokio::test]
async fn a_device_that_may_enroll_again_gets_new_keys_and_loses_the_old_ones() {
    let world = World::new().await;
    let old = world.enrolled("pump-7").await;
    let (new, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);
    assert_eq!(
        world.enroll("pump-7", &token, &new.request()).await.slug(),
        "already-enrolled"
    );

    assert_eq!(
        world
            .admin("POST", "/devices/pump-7/allow-reenroll?for_seconds=600")
            .await
            .status,
        StatusCode::OK
    );
    let answer = world.enroll("pump-7", &token, &new.request()).await;

    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(answer.json()["wireguard_ip"], "10.8.0.2");
    assert!(world.hub.knows(new.wireguard_key) && !world.hub.knows(old.wireguard_key));

    world.work().await;
    assert_eq!(
        world.ca.revoked.lock().unwrap().len(),
        1,
        "the old certificate, and it alone, is revoked"
    );
}

#[tokio::test]
async fn a_device_that_enrolls_again_loses_its_old_place_even_while_the_authority_is_away() {
    let world = World::new().await;
    let old = world.enrolled("pump-7").await;
    world.admin("POST", "/devices/pump-7/allow-reenroll").await;
    world.ca.is(Mood::Away);
    let (new, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);

    assert_eq!(
        world.enroll("pump-7", &token, &new.request()).await.status,
        StatusCode::ACCEPTED
    );
    world.work().await;

    assert!(!world.hub.knows(old.wireguard_key));
    world.ca.is(Mood::Good);
    assert_eq!(
        world.enroll("pump-7", &token, &new.request()).await.status,
        StatusCode::OK
    );
    assert!(world.hub.knows(new.wireguard_key));
}

#[tokio::test]
async fn a_late_order_leaves_a_device_that_has_enrolled_again_meanwhile_on_the_hub() {
    let world = World::new().await;
    let old = world.enrolled("pump-7").await;
    world.admin("POST", "/devices/pump-7/allow-reenroll").await;
    world.ca.is(Mood::Away);
    let (new, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);
    let enroll = async || world.enroll("pump-7", &token, &new.request()).await.status;
    assert_eq!(enroll().await, StatusCode::ACCEPTED);
    world.hub.hesitates();
    let enrolls = async {
        world.ca.is(Mood::Good);
        assert_eq!(enroll().await, StatusCode::OK);
    };

    let stop = CancellationToken::new();
    let (carried_out, ()) = tokio::join!(world.services.jobs.run_due(&stop), world.hub.goes_on_after(enrolls));

    carried_out.unwrap();
    assert!(world.hub.knows(new.wireguard_key) && !world.hub.knows(old.wireguard_key));
}

#[tokio::test]
async fn thirteen_addresses_are_thirteen_devices() {
    let world = World::with_network("10.8.0.0/28").await; // 13 devices
    let token = world.batch_token(100).await;
    let mut answers = Vec::new();
    for index in 0..15 {
        let id = format!("pump-{index}");
        answers.push(world.enroll(&id, &token, &TestDevice::new(&id).request()).await);
    }

    assert!(answers[..13].iter().all(|answer| answer.status == StatusCode::CREATED));
    for answer in &answers[13..] {
        assert_eq!(answer.status_and_slug(), (503, "address-pool-exhausted".to_owned()));
        assert!(answer.headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn a_listener_without_tls_enrolls_nobody() {
    let world = World::without_enrollment().await;
    let answer = world
        .enroll(
            "pump-7",
            &world.token_for("pump-7").await,
            &TestDevice::new("pump-7").request(),
        )
        .await;
    assert_eq!(answer.status_and_slug(), (403, "enrollment-needs-tls".to_owned()));
}
