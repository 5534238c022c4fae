//! What is on record: every decision, and no more of whoever is refused over and over than the limit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::domain::{JobState, WireguardKey};
use http::StatusCode;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::{Value, json};

use crate::support::{Mood, NOW, TestDevice, World};

/// Refusals that a client hears in a minute before it hears 429.
const LIMIT: usize = 50;

#[tokio::test]
async fn every_decision_is_in_the_audit_trail_and_its_chain_holds() {
    use common::domain::AuditTrail as _;
    let world = World::new().await;
    world.enrolled("pump-7").await;
    let bad = json!({ "csr": TestDevice::new("pump-8").csr });
    world.enroll("pump-9", &world.token_for("pump-9").await, &bad).await;
    world.admin("DELETE", "/devices/pump-7").await;

    let audit = world.admin("GET", "/audit").await.json();

    let actions: Vec<_> = audit["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["action"].as_str().unwrap())
        .collect();
    for action in [
        "token.created",
        "device.admitted",
        "certificate.issued",
        "device.enrolled",
        "enrollment.refused",
        "device.retired",
    ] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
    assert!(world.store.verify_audit().await.unwrap().is_empty());
    assert!(world.store.check_invariants().await.unwrap().is_empty());
    assert_eq!(world.ca.signed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn whoever_is_refused_is_on_record() {
    let world = World::new().await;
    let viewer = world.people.token(NOW, "fleet-viewer", &[]);
    let (device, leaf) = world.certified("pump-7").await;
    let stranger = json!({ "csr": TestDevice::new("pump-8").csr });

    world.ask("DELETE", "/devices/pump-7", Some(&viewer), None).await;
    world
        .as_device("POST", "/devices/pump-7/renew", &leaf, Some(&stranger))
        .await;
    world.ca.is(Mood::SignsForAnother);
    let again = json!({ "csr": device.csr });
    world
        .as_device("POST", "/devices/pump-7/renew", &leaf, Some(&again))
        .await;
    let key = json!({ "public_key": world.hub.key() });
    world
        .as_device("PUT", "/devices/pump-7/wireguard", &leaf, Some(&key))
        .await;
    let nonsense = json!({ "public_key": "hello" });
    world
        .as_device("PUT", "/devices/pump-7/wireguard", &leaf, Some(&nonsense))
        .await;
    world.as_device("POST", "/devices/pump-8/checkin", &leaf, None).await;
    let token = world.token_for("pump-9").await;
    world
        .enroll("pump-9", &token, &TestDevice::new("pump-9").request())
        .await;
    world.admin("POST", "/devices/pump-7/quarantine").await;
    world.as_device("POST", "/devices/pump-7/checkin", &leaf, None).await;
    world.admin("DELETE", "/devices/pump-7").await;
    world.as_device("POST", "/devices/pump-7/checkin", &leaf, None).await;

    let refused = refused(&world).await;
    assert_eq!(
        refused,
        [
            pair("certificate.renewal_refused", "authority_not_believed"),
            pair("certificate.renewal_refused", "cn-mismatch"),
            pair("device.key_refused", "wireguard_key_invalid"),
            pair("device.key_refused", "wireguard_key_invalid"),
            pair("device.refused", "certificate_not_current"),
            pair("device.refused", "device_mismatch"),
            pair("device.refused", "quarantined"),
            pair("enrollment.refused", "authority_not_believed"),
            pair("operator.refused", "-"),
        ]
    );
    assert!(world.store.check_invariants().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_wireguard_key_that_is_none_is_counted_at_the_token_and_on_record() {
    let world = World::new().await;
    let token = world.token_for("pump-7").await;
    let low_order = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for key in ["hello", low_order] {
        assert!(WireguardKey::parse(key).is_err());
        let body = json!({ "csr": TestDevice::new("pump-7").csr, "wg_public_key": key });
        let answer = world.enroll("pump-7", &token, &body).await;
        assert_eq!(answer.status_and_slug(), (422, "wg-key-invalid".to_owned()));
    }

    assert_eq!(
        refused(&world).await,
        vec![pair("enrollment.refused", "wireguard_key_invalid"); 2]
    );
    let tokens = world.admin("GET", "/enrollment-tokens").await.json();
    assert_eq!(tokens["tokens"][0]["refused"], 2);
}

#[tokio::test]
async fn est_requests_that_do_not_say_for_whom_they_are_are_counted_and_on_record() {
    let world = World::new().await;
    let token = world.token_for("pump-7").await;
    let (_, leaf) = world.certified("pump-8").await;
    let (_, leaf) = pem_rfc7468::decode_vec(leaf.as_bytes()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let nobody = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let requests = [
        (unreadable(), (400, "csr-malformed")),
        (nobody.pem().unwrap(), (422, "csr-rejected")),
        (TestDevice::new("Pump 7").csr, (422, "csr-rejected")),
    ];

    for (csr, (status, slug)) in &requests {
        let guess = world.est("simpleenroll", Some("ibt_guess"), None, csr).await;
        assert_eq!(guess.status, StatusCode::UNAUTHORIZED);
        let enroll = world.est("simpleenroll", Some(&token), None, csr).await;
        assert_eq!(enroll.status_and_slug(), (*status, (*slug).to_owned()));
        let renew = world.est("simplereenroll", None, Some(&leaf), csr).await;
        assert_eq!(renew.status_and_slug(), (*status, (*slug).to_owned()));
    }

    let reasons = ["cn-mismatch", "malformed", "no-identity"];
    let renewals = reasons.map(|reason| pair("certificate.renewal_refused", reason));
    let enrollments = reasons.map(|reason| pair("enrollment.refused", reason));
    assert_eq!(refused(&world).await, [renewals, enrollments].concat());
    let tokens = world.admin("GET", "/enrollment-tokens").await.json();
    let tokens = tokens["tokens"].as_array().unwrap();
    let ours = tokens.iter().find(|token| token["id_pattern"] == "pump-7").unwrap();
    assert_eq!(ours["refused"], 3);
}

#[tokio::test]
async fn an_admin_who_revives_an_order_is_on_record() {
    let world = World::new().await;
    world.enrolled("pump-7").await;
    world.ca.is(Mood::Away);
    world.admin("DELETE", "/devices/pump-7").await;
    world.clock.advance(Duration::from_hours(73));
    world.work().await;
    let dead = world.services.jobs.list(Some(JobState::Dead)).await.unwrap();

    let path = format!("/jobs/{}/retry", dead[0].id);
    assert_eq!(world.admin("POST", &path).await.status, StatusCode::ACCEPTED);

    let records = world.admin("GET", "/audit?device_id=pump-7").await.json();
    let records = records["records"].as_array().unwrap();
    let retried = records.iter().find(|record| record["action"] == "job.retried");
    let retried = retried.unwrap_or_else(|| panic!("{records:?}"));
    assert!(retried["actor"].as_str().unwrap().contains("ada"), "{retried}");
    assert_eq!(retried["detail"]["system"], "certificate_authority");
    assert!(world.store.check_invariants().await.unwrap().is_empty());
}

#[tokio::test]
async fn whoever_is_refused_over_and_over_is_not_written_down_any_more_and_keeps_out_nobody_else() {
    let world = World::new().await;
    let (device, leaf) = world.certified("pump-7").await;
    let (_, neighbour) = world.certified("pump-8").await;
    let token = world.token_for("pump-7").await;
    let tokens = world.admin("GET", "/enrollment-tokens").await.json();
    let id = tokens["tokens"][0]["id"].as_str().unwrap().to_owned();
    world.admin("DELETE", &format!("/enrollment-tokens/{id}")).await;
    world.admin("POST", "/devices/pump-7/quarantine").await;
    let check_in = "/devices/pump-7/checkin";
    let knock = async |door: usize| match door {
        0 => world.as_device("POST", check_in, &leaf, None).await.status,
        1 => world.as_device("POST", check_in, &neighbour, None).await.status,
        2 => world.enroll("pump-7", &token, &device.request()).await.status,
        3 => world.est("simpleenroll", Some(&token), None, &device.csr).await.status,
        _ => {
            world
                .est("simpleenroll", Some(&token), None, &unreadable())
                .await
                .status
        }
    };

    let mut answered = 0;
    for door in 0..5 {
        while knock(door).await != StatusCode::TOO_MANY_REQUESTS {
            answered += 1;
            assert!(answered < 20 * LIMIT, "door {door} is never shut");
        }
    }

    assert!(answered >= LIMIT);
    assert_eq!(refused(&world).await.len(), answered, "429 is no decision");
    let path = "/devices/pump-8/checkin";
    let let_in = world.as_device("POST", path, &neighbour, None).await;
    assert_eq!(let_in.status, StatusCode::OK, "others behind the same address");
}

/// What was refused, action and reason, in the order of the alphabet.
async fn refused(world: &World) -> Vec<(String, String)> {
    let records = world.admin("GET", "/audit?limit=1000").await.json();
    let records = records["records"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let pairs = records.map(|record| (text(&record["action"]), text(&record["detail"]["reason"])));
    let mut refused: Vec<_> = pairs.filter(|(action, _)| action.ends_with("refused")).collect();
    refused.sort_unstable();
    refused
}

fn pair(action: &str, reason: &str) -> (String, String) {
    (action.to_owned(), reason.to_owned())
}

/// What no parser takes for a request.
fn unreadable() -> String {
    pem_rfc7468::encode_string("X", pem_rfc7468::LineEnding::LF, b"hello").unwrap()
}
