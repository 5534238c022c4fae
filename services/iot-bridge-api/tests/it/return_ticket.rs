//! A ticket for a device that was stored longer than its certificate lives.

use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::process::run;
use crate::support::{Answer, Mood, TestDevice, World};

const ID: &str = "pump-7";

#[tokio::test]
async fn a_return_ticket_brings_a_device_back_whose_certificate_has_ended() {
    let world = World::new().await;
    let (device, leaf) = world.certified(ID).await;
    world.clock.advance(Duration::from_hours(24 * 60));
    let ordinary = world.enroll(ID, &world.token_for(ID).await, &device.request()).await;
    assert_eq!(ordinary.status_and_slug(), (409, "already-enrolled".to_owned()));
    let ticket = world.ticket(json!({ "device_id": ID })).await;

    let back = world.enroll(ID, &ticket.field("token"), &device.request()).await;

    assert_eq!(back.status, StatusCode::CREATED, "{back:?}");
    assert_eq!(back.json()["wireguard_ip"], "10.8.0.2");
    let check_in = async |leaf: &str| {
        world
            .as_device("POST", "/devices/pump-7/checkin", leaf, None)
            .await
            .status
    };
    assert_eq!(check_in(&back.field("certificate")).await, StatusCode::OK);
    assert_eq!(check_in(&leaf).await, StatusCode::UNAUTHORIZED);
    let again = world
        .enroll(ID, &ticket.field("token"), &TestDevice::new(ID).request())
        .await;
    assert_eq!(again.status_and_slug(), (403, "token-used-up".to_owned()));
}

#[tokio::test]
async fn a_device_that_comes_back_with_its_key_has_no_place_until_it_has_a_certificate() {
    let world = World::new().await;
    let (device, _) = world.certified(ID).await;
    let ticket = world.ticket(json!({ "device_id": ID })).await.field("token");
    world.ca.is(Mood::Away);

    let waiting = world.enroll(ID, &ticket, &device.request()).await;

    assert_eq!(waiting.status, StatusCode::ACCEPTED, "{waiting:?}");
    world.work().await;
    world.services.reconciler.sweep().await.unwrap();
    assert!(!world.hub.knows(device.wireguard_key));
    world.ca.is(Mood::Good);
    let back = world.enroll(ID, &ticket, &device.request()).await;
    assert_eq!(back.status, StatusCode::OK, "{back:?}");
    assert!(world.hub.knows(device.wireguard_key));
}

#[tokio::test]
async fn a_return_ticket_made_at_the_command_line_brings_a_device_back_too() {
    let world = World::new().await;
    let (device, _) = world.certified(ID).await;
    world.clock.advance(Duration::from_hours(24 * 60));
    let mut ticket = String::new();

    let at_the_console = |folder: &Path| {
        let create = |more: &[&str]| {
            let output = run(folder, &[&["token", "create", "--purpose", "return"], more].concat());
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
            (output.status.success(), said.concat())
        };
        let batch = create(&["--pattern", "pump-*"]);
        let endless = create(&["--device", ID, "--hours", "169"]);
        let made = create(&["--device", ID]);
        assert!(!batch.0 && batch.1.contains("one device"), "{batch:?}");
        assert!(!endless.0 && endless.1.contains("seven days"), "{endless:?}");
        assert!(made.0, "{made:?}");
        made.1.trim().clone_into(&mut ticket);
    };
    let world = world.restart_after(true, at_the_console).await;
    let back = world.enroll(ID, &ticket, &device.request()).await;

    assert_eq!(back.status, StatusCode::CREATED, "{back:?}");
}

#[tokio::test]
async fn a_return_ticket_that_has_ended_or_is_another_devices_brings_nobody_back() {
    let world = World::new().await;
    let (device, _) = world.certified(ID).await;
    let neighbour = world.enrolled("pump-8").await;
    world.clock.advance(Duration::from_hours(24 * 60));
    let ticket = world.ticket(json!({ "device_id": ID })).await.field("token");

    let other = world.enroll("pump-8", &ticket, &neighbour.request()).await;
    world.clock.advance(Duration::from_hours(24 * 7));
    let late = world.enroll(ID, &ticket, &device.request()).await;

    assert_eq!(other.status_and_slug(), (403, "device-mismatch".to_owned()));
    assert_eq!(late.status_and_slug(), (401, "unauthenticated".to_owned()));
}

#[tokio::test]
async fn a_return_ticket_is_for_one_device_once_and_for_a_week_at_most() {
    let world = World::new().await;
    let fleet = json!({ "id_pattern": "*", "quota": 2_000_000, "expires_in_seconds": 31_622_400 });
    for (order, field) in [
        (fleet, "device_id"),
        (json!({ "id_pattern": "pump-*" }), "device_id"),
        (json!({ "id_pattern": ID, "quota": 2 }), "device_id"),
        (json!({ "device_id": ID, "quota": 2 }), "quota"),
        (
            json!({ "device_id": ID, "expires_in_seconds": 604_801 }),
            "expires_in_seconds",
        ),
    ] {
        let refused = world.ticket(order.clone()).await;
        assert_eq!(refused.status_and_slug(), (422, "invalid-field".to_owned()), "{order}");
        assert_eq!(refused.json()["field"], field, "{order}");
    }
    for order in [
        json!({ "device_id": ID }),
        json!({ "id_pattern": ID, "quota": 1, "expires_in_seconds": 604_800 }),
    ] {
        let made = world.ticket(order).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        assert_eq!(
            (&made.json()["purpose"], &made.json()["quota"]),
            (&json!("return"), &json!(1))
        );
    }
}

impl World {
    /// Asks for a return ticket as an admin.
    async fn ticket(&self, mut order: Value) -> Answer {
        order["purpose"] = json!("return");
        let admin = self.people.token(self.clock_now(), "fleet-admin", &[]);
        self.ask("POST", "/enrollment-tokens", Some(&admin), Some(&order)).await
    }
}
