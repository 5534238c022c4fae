//! The page, what it asks, and the doctor.

use std::time::Duration;

use common::domain::{Clock as _, DeviceDirectory as _, DeviceRegistry as _, LiveFacts};
use serde_json::json;

use crate::support::World;
use crate::ttyd::Mood;

#[tokio::test]
async fn the_page_lives_under_a_strict_policy_and_only_hashed_files_are_kept() {
    let world = World::new().await;
    for target in ["/", "/ui/callback?code=x&state=y", "/ui/terminal/pump-1"] {
        let answer = world.send(&format!("GET {target} HTTP/1.1"), "", "").await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
        let policy = answer.header("content-security-policy").unwrap();
        let issuer_origin = world.issuer.url().strip_suffix("/realms/fleet").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self';",
            "frame-ancestors 'none'",
            issuer_origin,
        ] {
            assert!(policy.contains(part), "{part} is not in {policy}");
        }
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));

        let script = answer
            .body
            .split("/ui/assets/")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let script = world.send(&format!("GET /ui/assets/{script} HTTP/1.1"), "", "").await;
        assert_eq!(script.status, 200);
        assert_eq!(
            script.header("cache-control"),
            Some("public, max-age=31536000, immutable")
        );
    }
    let outside = world.send("GET /ui/assets/..%2f..%2fCargo.toml HTTP/1.1", "", "").await;
    assert_eq!(outside.problem(), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn the_page_learns_where_to_log_in() {
    let world = World::new().await;

    let config = world.send("GET /ui/config.json HTTP/1.1", "", "").await.json();

    assert_eq!(
        config,
        json!({"issuer": world.issuer.url(), "client_id": "terminal-ui"})
    );
}

#[tokio::test]
async fn the_fleet_is_shown_as_the_person_may_see_it() {
    let world = World::new().await;
    world.record_handshake(180).await;

    let fleet = world.get("/ui/api/devices", &world.token("operator")).await.json();

    assert_eq!(fleet["user"], json!({"username": "operator", "role": "operator"}));
    let pump = json!({
        "id": "pump-1", "display_name": null, "device_type": "pump", "group": "default", "state": "enrolled",
        "address": "10.8.0.2", "online": true, "handshake_age_seconds": 180, "may_open": true, "update": null,
    });
    assert_eq!(fleet["devices"][0], pump);
    assert_eq!(fleet["devices"][1]["online"], false);
    assert_eq!(fleet["devices"][1]["handshake_age_seconds"], json!(null));

    world.clock.advance(Duration::from_secs(1));
    let fleet = world.get("/ui/api/devices", &world.token("viewer")).await.json();
    assert_eq!(
        (&fleet["devices"][0]["online"], &fleet["devices"][0]["may_open"]),
        (&json!(false), &json!(false))
    );

    let fleet = world.get("/ui/api/devices", &world.token("outsider")).await.json();
    assert_eq!(fleet["devices"], json!([]));

    let found = world
        .get("/ui/api/devices?text=pump-1", &world.token("operator"))
        .await
        .json();
    assert_eq!(found["devices"].as_array().map(Vec::len), Some(1));
    assert_eq!(found["devices"][0]["id"], "pump-1");
}

#[tokio::test]
async fn the_doctor_names_the_broken_link() {
    let world = World::new().await;
    let examine = async |person: &str| {
        let report = world.get("/doctor/pump-1", &world.token(person)).await.json();
        let chain = report["chain"].as_array().unwrap().clone();
        chain
            .iter()
            .map(|link| format!("{} {}", link["check"].as_str().unwrap(), link["ok"]))
            .collect::<Vec<_>>()
    };
    world.record_handshake(10).await;

    let good = [
        "token true",
        "policy true",
        "device true",
        "certificate true",
        "mqtt false",
        "handshake true",
        "tcp true",
        "ttyd true",
    ];
    assert_eq!(examine("operator").await, good);
    assert_eq!(examine("viewer").await[6..], ["tcp null", "ttyd null"]);
    world.device.set_mood(Mood::Closes);
    assert_eq!(examine("operator").await[6..], ["tcp true", "ttyd false"]);
    world.device.set_mood(Mood::Refuses);
    assert_eq!(examine("operator").await[6..], ["tcp false", "ttyd null"]);
    assert_eq!(
        world.get("/doctor/pump-1", &world.token("outsider")).await.problem().0,
        404
    );
}

#[tokio::test]
async fn sessions_are_counted() {
    let world = World::new().await;
    let _terminal = world.opened("pump-1").await;

    let metrics = world.send("GET /metrics HTTP/1.1", "", "").await;

    assert!(metrics.body.contains("terminal_sessions 1"), "{}", metrics.body);
}

impl World {
    async fn record_handshake(&self, seconds_ago: u64) {
        let device = self.store.find(&"pump-1".parse().unwrap()).await.unwrap().unwrap();
        let facts = LiveFacts {
            device_id: device.id,
            key: device.wireguard_key.unwrap(),
            last_handshake_at: Some(self.clock.now() - Duration::from_secs(seconds_ago)),
            endpoint: None,
            received_bytes: 1,
            sent_bytes: 1,
        };
        self.store.record_live(&[facts]).await.unwrap();
    }
}
