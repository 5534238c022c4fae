use std::time::Duration;

use http::StatusCode;
use iot_bridge_api::app::reconcile::Swept;
use serde_json::json;

use crate::support::{NOW, TestDevice, World};

#[tokio::test]
async fn a_decommissioned_device_is_gone_everywhere_and_stays_so() {
    let world = World::new().await;
    let device = world.enrolled("pump-7").await;

    for _ in 0..2 {
        let answer = world.admin("DELETE", "/devices/pump-7").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["state"], "retired");
        assert_eq!(
            answer.json()["systems"],
            json!({ "vpn": "removed", "certificate_authority": "revoked" })
        );
    }

    assert!(!world.hub.knows(device.wireguard_key));
    assert!(!world.ca.revoked.lock().unwrap().is_empty());
    let again = world
        .enroll(
            "pump-7",
            &world.token_for("pump-7").await,
            &TestDevice::new("pump-7").request(),
        )
        .await;
    assert_eq!(again.status_and_slug(), (410, "device-decommissioned".to_owned()));
    assert!(world.services.jobs.list(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_admin_moves_a_device_to_another_group_and_names_it() {
    let world = World::new().await;
    world.enrolled("pump-7").await;
    let token = world.people.token(NOW, "fleet-admin", &[]);
    let patch = async |body| world.ask("PATCH", "/devices/pump-7", Some(&token), Some(&body)).await;

    let changed = patch(json!({ "group": "north", "device_name": "The pump in the cellar" })).await;
    let typed = patch(json!({ "device_type": "MK II" })).await;
    let twice = patch(json!({ "device_type": "MK II" })).await;

    assert_eq!(changed.status, StatusCode::OK);
    let shown = world.admin("GET", "/devices/pump-7").await.json();
    assert_eq!(
        [&shown["group"], &shown["device_name"], &shown["device_type"]],
        [&json!("north"), &json!("The pump in the cellar"), &json!("MK II")]
    );
    assert_eq!(typed.json()["device_type"], twice.json()["device_type"]);
    let records = world.admin("GET", "/audit?device_id=pump-7").await.json();
    let described = records["records"].as_array().unwrap().iter();
    let described: Vec<_> = described
        .filter(|record| record["action"] == "device.described")
        .collect();
    assert_eq!(described.len(), 2, "{records}");

    assert_eq!(
        patch(json!({ "group": "No Group" })).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        patch(json!({ "device_name": "a\nb" })).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        patch(json!({ "state": "retired" })).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    world.admin("DELETE", "/devices/pump-7").await;
    assert_eq!(patch(json!({ "group": "south" })).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn quarantine_shuts_a_device_out_and_release_lets_it_back_in() {
    let world = World::new().await;
    let device = TestDevice::new("pump-7");
    let token = world.token_for("pump-7").await;
    world.enroll("pump-7", &token, &device.request()).await;

    let shut_out = world.admin("POST", "/devices/pump-7/quarantine").await;
    assert_eq!(
        (shut_out.status, &shut_out.json()["state"]),
        (StatusCode::OK, &json!("quarantined"))
    );
    assert!(!world.hub.knows(device.wireguard_key));
    let repeated = world.enroll("pump-7", &token, &device.request()).await;
    assert_eq!(repeated.status_and_slug(), (403, "device-quarantined".to_owned()));

    let released = world.admin("POST", "/devices/pump-7/release").await;
    assert_eq!(released.json()["state"], "enrolled");
    assert!(world.hub.knows(device.wireguard_key));
    assert!(world.ca.revoked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_device_that_is_not_there_is_not_found_and_one_that_is_gone_is_not_changed() {
    let world = World::new().await;
    for (method, path) in [
        ("GET", "/devices/pump-7"),
        ("DELETE", "/devices/pump-7"),
        ("POST", "/devices/pump-7/quarantine"),
        ("POST", "/devices/pump-7/release"),
        ("POST", "/devices/pump-7/allow-reenroll"),
    ] {
        assert_eq!(
            world.admin(method, path).await.status_and_slug(),
            (404, "not-found".to_owned()),
            "{path}"
        );
    }
    world.enrolled("pump-7").await;
    world.admin("DELETE", "/devices/pump-7").await;
    let answer = world.admin("POST", "/devices/pump-7/quarantine").await;
    assert_eq!(answer.status_and_slug(), (409, "wrong-state".to_owned()));
    assert_eq!(answer.json()["state"], "retired");
}

#[tokio::test]
async fn the_hub_is_brought_in_line_in_both_directions() {
    let world = World::new().await;
    let device = world.enrolled("pump-7").await;
    let stranger = crate::support::wireguard_key();
    {
        let mut members = world.hub.members.lock().unwrap();
        let address = members.remove(&device.wireguard_key).unwrap();
        members.insert(stranger, address);
    }

    let swept = world.services.reconciler.sweep().await.unwrap();

    assert_eq!((swept.added, swept.removed), (1, 1));
    assert!(world.hub.knows(device.wireguard_key) && !world.hub.knows(stranger));
    assert_eq!(world.services.reconciler.sweep().await.unwrap(), Swept::default());
}

#[tokio::test]
async fn the_age_of_a_handshake_is_shown_and_written_at_most_every_half_minute() {
    let world = World::new().await;
    world.enrolled("pump-7").await;
    *world.hub.handshake.lock().unwrap() = Some(NOW);

    assert_eq!(world.services.observer.look().await.unwrap(), 1);
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(world.services.observer.look().await.unwrap(), 0);
    let shown = world.admin("GET", "/devices/pump-7").await.json();
    assert_eq!(shown["live"]["handshake_age_seconds"], 10);
    assert_eq!(shown["live"]["endpoint"], "198.51.100.7:4711");
    world.clock.advance(Duration::from_secs(20));
    assert_eq!(world.services.observer.look().await.unwrap(), 1);
}

#[tokio::test]
async fn a_viewer_sees_the_devices_of_their_groups_and_no_others() {
    let world = World::new().await;
    world.enrolled("pump-7").await;
    let token = |groups: &[&str]| world.people.token(NOW, "fleet-viewer", groups);
    let (inside, outside) = (token(&["/fleets/default"]), token(&["/fleets/other"]));

    let ids = async |token: &str| {
        world.ask("GET", "/devices", Some(token), None).await.json()["devices"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((ids(&inside).await, ids(&outside).await), (1, 0));
    let show = async |token: &str, id: &str| world.ask("GET", &format!("/devices/{id}"), Some(token), None).await;
    assert_eq!(show(&inside, "pump-7").await.status, StatusCode::OK);
    let (hidden, unknown) = (show(&outside, "pump-7").await, show(&outside, "pump-8").await);
    assert_eq!((hidden.status, hidden.slug()), (unknown.status, unknown.slug()));
    assert_eq!(hidden.json()["detail"], unknown.json()["detail"]);
}

#[tokio::test]
async fn the_list_is_paged_and_filtered() {
    let world = World::new().await;
    for id in ["pump-1", "pump-2", "valve-1"] {
        world.enrolled(id).await;
    }
    let ids = async |path: &str| {
        let body = world.admin("GET", path).await.json();
        let devices = body["devices"].as_array().unwrap().clone();
        (
            devices
                .iter()
                .map(|device| device["device_id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>(),
            body["next"].clone(),
        )
    };

    let (first, next) = ids("/devices?limit=2").await;
    assert_eq!((first.join(" "), &next), ("pump-1 pump-2".to_owned(), &json!("pump-2")));
    assert_eq!(ids("/devices?limit=2&after=pump-2").await.0, ["valve-1"]);
    assert_eq!(ids("/devices?text=valve").await.0, ["valve-1"]);
    assert!(ids("/devices?state=retired").await.0.is_empty());
    assert_eq!(
        world.admin("GET", "/devices?colour=red").await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_token_is_shown_once_counted_and_ended() {
    let world = World::new().await;
    let admin = world.people.token(NOW, "fleet-admin", &[]);
    let order = json!({ "id_pattern": "pump-*", "quota": 2, "group": "north", "expires_in_seconds": 3600 });

    let made = world
        .ask("POST", "/enrollment-tokens", Some(&admin), Some(&order))
        .await;

    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let (secret, id) = (
        made.json()["token"].as_str().unwrap().to_owned(),
        made.json()["id"].as_str().unwrap().to_owned(),
    );
    world
        .enroll("pump-7", &secret, &TestDevice::new("pump-7").request())
        .await;
    world
        .enroll("valve-7", &secret, &TestDevice::new("valve-7").request())
        .await;
    let listed = world.admin("GET", "/enrollment-tokens").await;
    assert!(!String::from_utf8_lossy(&listed.body).contains(&secret));
    let token = listed.json()["tokens"][0].clone();
    assert_eq!(
        (&token["used"], &token["refused"], &token["group"]),
        (&json!(1), &json!(1), &json!("north"))
    );

    let path = format!("/enrollment-tokens/{id}");
    assert_eq!(world.admin("DELETE", &path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(world.admin("DELETE", &path).await.status, StatusCode::NO_CONTENT);
    let late = world
        .enroll("pump-8", &secret, &TestDevice::new("pump-8").request())
        .await;
    assert_eq!(late.status_and_slug(), (401, "unauthenticated".to_owned()));
}
