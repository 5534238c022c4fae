use std::time::Duration;

use axum::body::Body;
use common::domain::{Clock as _, DeviceDirectory as _, DeviceId};
use fakes::thingsboard::FakeThingsBoard;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};

use crate::support::neighbours::{Neighbourhood, OLD_SECRET, SECRET};
use crate::support::{NOW, World};

const PATH: &str = "/webhooks/thingsboard";

#[tokio::test]
async fn only_who_knows_one_of_the_two_secrets_may_send() {
    let near = Neighbourhood::good().await;
    let message = FakeThingsBoard::connect_event("pump-7", 1);
    for (secret, status) in [
        (Some(SECRET), StatusCode::ACCEPTED),
        (Some(OLD_SECRET), StatusCode::OK), // the same message again
        (Some("the-secret-before-both"), StatusCode::UNAUTHORIZED),
        (Some(""), StatusCode::UNAUTHORIZED),
        (None, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(
            near.world.ask("POST", PATH, secret, Some(&message)).await.status,
            status,
            "{secret:?}"
        );
    }
    let nobody_configured = World::new().await;
    let answer = nobody_configured.ask("POST", PATH, Some(SECRET), Some(&message)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_form_in_which_a_connection_is_told_makes_the_target() {
    let messages = [
        FakeThingsBoard::connect_event("pump-7", 1_777_636_700_000),
        json!({ "event": "POST_CONNECT", "deviceName": "pump-7" }),
        json!({ "event": "CONNECT_EVENT", "deviceId": "784f394c-42b6-435a-983c-b7beff2784f9", "deviceName": "pump-7",
                "deviceType": "iot-bridge", "ts": 1_777_636_700_000_i64 }),
        json!({ "msgType": "CONNECT_EVENT",
                "metadata": { "deviceName": "pump-7", "deviceType": "iot-bridge", "scope": "SERVER_SCOPE" },
                "data": { "lastConnectTime": 1_777_636_700_000_i64, "lastActivityTime": 0 } }),
        json!({ "msgType": "POST_CONNECT", "metadata": { "deviceName": "pump-7", "ts": "1777636700000" }, "data": {} }),
    ];
    for message in messages {
        let near = Neighbourhood::good().await;
        near.world.enrolled("pump-7").await;
        let answer = near.tell(&message).await;
        assert_eq!(
            (answer.status, answer.json()),
            (StatusCode::ACCEPTED, json!({ "status": "recorded" })),
            "{message}"
        );
        assert_eq!(
            near.tell(&message).await.json(),
            json!({ "status": "duplicate" }),
            "{message}"
        );
        near.settle().await;
        assert_eq!(near.hawkbit.ids(), ["pump-7"], "{message}");
    }
}

#[tokio::test]
async fn an_entity_that_is_made_or_deleted_is_looked_at() {
    let near = Neighbourhood::good().await;
    near.world.enrolled("pump-7").await;
    near.settle().await;
    near.thingsboard.delete("pump-7");

    let deleted = json!({ "msgType": "ENTITY_DELETED", "metadata": { "tenantId": "13814000-1dd2-11b2-8080-808080808080" },
        "data": { "id": { "entityType": "DEVICE", "id": "784f394c-42b6-435a-983c-b7beff2784f9" }, "name": "pump-7" } });
    assert_eq!(near.tell(&deleted).await.json(), json!({ "status": "recorded" }));
    near.settle().await;
    assert_eq!(near.thingsboard.names(), ["pump-7"]);

    near.thingsboard.delete("pump-7");
    near.thingsboard.change("pump-7", |_| {}); // somebody makes it anew, with an access token
    near.tell(&json!({ "event": "ENTITY_CREATED", "deviceName": "pump-7", "createdTime": 1_777_636_700_000_i64 }))
        .await;
    near.settle().await;
    assert_eq!(
        near.thingsboard.lets_in(&near.leaf("pump-7").await).as_deref(),
        Some("pump-7")
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_answered_as_documented() {
    let near = Neighbourhood::good().await;
    let with = |name: Value| json!({ "event": "CONNECT_EVENT", "deviceName": name });
    let metadata = |metadata: Value| json!({ "event": "CONNECT_EVENT", "deviceName": "pump-7", "metadata": metadata });
    let many: Map<_, _> = (0..100_000).map(|number| (format!("k{number}"), json!("v"))).collect();
    for (message, slug) in [
        (json!({ "event": "CONNECT_EVENT" }), "missing-device"),
        (
            json!({ "event": "CONNECT_EVENT", "deviceId": "784f394c-42b6-435a-983c-b7beff2784f9" }),
            "missing-device",
        ),
        (
            json!({ "event": "CONNECT_EVENT", "data": { "name": "pump-7" } }),
            "missing-device",
        ),
        (
            json!({ "event": "CONNECT_EVENT", "deviceName": "a", "metadata": { "deviceName": "b" } }),
            "missing-device",
        ),
        (with(json!("/../pump")), "invalid-device-id"),
        (with(json!("pump?x=1")), "invalid-device-id"),
        (with(json!("pump\r\nX: y")), "invalid-device-id"),
        (with(json!("p".repeat(300))), "invalid-device-id"),
        (metadata(Value::Object(many)), "metadata-too-large"),
        (metadata(json!({ "k": "v".repeat(1_000_000) })), "metadata-too-large"),
        (metadata(json!({ "__proto__": "x" })), "invalid-metadata"),
        (metadata(json!({ "": "x" })), "invalid-metadata"),
        (metadata(json!({ "a.b": "x" })), "invalid-metadata"),
        (metadata(json!({ "a\nb": "x" })), "invalid-metadata"),
        (metadata(json!({ "bridge_state": "x" })), "invalid-metadata"),
        (metadata(json!("text")), "invalid-metadata"),
        (json!({ "deviceName": "pump-7" }), "invalid-field"),
    ] {
        let answer = near.tell(&message).await;
        let start: String = message.to_string().chars().take(80).collect();
        assert_eq!(
            (answer.status, answer.slug().as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, slug),
            "{start}"
        );
    }
    let unknown = json!({ "event": "POST_TELEMETRY_REQUEST", "deviceName": "pump-7" });
    assert_eq!(near.tell(&unknown).await.json(), json!({ "status": "ignored" }));
    let nobody = near.connects("nobody-of-ours").await;
    assert_eq!(
        (nobody.status, nobody.json()["status"].as_str()),
        (StatusCode::ACCEPTED, Some("recorded-without-effect"))
    );
    near.settle().await;
    assert_eq!(near.hawkbit.ids(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_message_is_answered_as_documented() {
    let near = Neighbourhood::good().await;
    let deep = format!("{{\"event\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    let huge = format!("{{\"event\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    for (method, media_type, body, status, slug) in [
        ("GET", "application/json", String::new(), 405, "method-not-allowed"),
        (
            "POST",
            "application/x-www-form-urlencoded",
            "event=CONNECT_EVENT".to_owned(),
            415,
            "unsupported-media-type",
        ),
        (
            "POST",
            "application/json",
            "{\"event\":".to_owned(),
            400,
            "malformed-json",
        ),
        (
            "POST",
            "application/json",
            "{\"event\":\"a\",\"event\":\"b\"}".to_owned(),
            400,
            "malformed-json",
        ),
        ("POST", "application/json", deep, 422, "metadata-too-large"),
        ("POST", "application/json", huge, 413, "payload-too-large"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(PATH)
            .header("authorization", format!("Bearer {SECRET}"))
            .header("content-type", media_type)
            .header("content-length", body.len())
            .body(Body::from(body))
            .unwrap();
        let answer = near.world.send(request).await;
        assert_eq!(
            answer.status_and_slug(),
            (status, slug.to_owned()),
            "{method} {media_type}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_accepted() {
    let near = Neighbourhood::good().await;
    near.world.enrolled("pump-7").await;
    near.world.store.close().await;

    let answer = near.connects("pump-7").await;

    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
}

/// All orders of five messages, each told twice, for a device in service and for one that is decommissioned; orders
/// are carried out somewhere in between.
#[tokio::test]
async fn the_order_and_the_repetition_of_messages_change_nothing() {
    for is_decommissioned in [false, true] {
        let near = Neighbourhood::good().await;
        for (number, order) in permutations(5).into_iter().enumerate() {
            let name = format!("pump-{number}");
            near.world.enrolled(&name).await;
            if is_decommissioned {
                near.world.admin("DELETE", &format!("/devices/{name}")).await;
            }
            let messages = messages(&name);
            for (position, index) in order.iter().chain(order.iter().rev()).enumerate() {
                assert!(near.tell(&messages[*index]).await.status.is_success());
                if position == number % 7 {
                    near.work().await;
                }
            }
        }
        near.settle().await;
        for number in 0..120 {
            let name = format!("pump-{number}");
            let device = near
                .world
                .store
                .find(&DeviceId::parse(&name).unwrap())
                .await
                .unwrap()
                .unwrap();
            let latest = (!is_decommissioned).then_some(NOW - Duration::from_secs(10));
            assert_eq!(device.last_connected_at, latest, "{name}");
            assert_eq!(near.thingsboard.device(&name).is_some(), !is_decommissioned, "{name}");
            assert_eq!(near.hawkbit.target(&name).is_some(), !is_decommissioned, "{name}");
        }
        assert_eq!(near.world.services.bridge.sweep.sweep().await, 0);
        assert!(near.world.clock.now() >= NOW);
    }
}

fn messages(name: &str) -> Vec<Value> {
    let before = |seconds: i64| NOW.unix_timestamp() * 1000 - seconds * 1000;
    vec![
        FakeThingsBoard::connect_event(name, before(10)),
        FakeThingsBoard::connect_event(name, before(3600)),
        json!({ "event": "DISCONNECT_EVENT", "deviceName": name, "lastDisconnectTime": before(60) }),
        json!({ "event": "ENTITY_CREATED", "deviceName": name, "createdTime": before(7200) }),
        json!({ "event": "ENTITY_DELETED", "deviceName": name }),
    ]
}

fn permutations(length: usize) -> Vec<Vec<usize>> {
    if length == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(length - 1);
    let with_last = |order: &Vec<usize>| {
        (0..length)
            .map(|place| {
                let mut order = order.clone();
                order.insert(place, length - 1);
                order
            })
            .collect::<Vec<_>>()
    };
    shorter.iter().flat_map(with_last).collect()
}
