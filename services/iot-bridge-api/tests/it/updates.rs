use std::time::Duration;

use common::domain::{DeviceId, UpdateLedger as _};
use fakes::hawkbit::FakeHawkbit;
use fakes::thingsboard::Behaviour;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::neighbours::{Neighbourhood, SECRET};

#[tokio::test]
async fn the_result_of_an_update_becomes_attributes_and_telemetry() {
    let near = with_devices(1).await;
    let action = near.hawkbit.assign("pump-0");
    read(&near).await;
    near.settle().await;
    assert_eq!(
        near.thingsboard.device("pump-0").unwrap().attributes["otaStatus"],
        "running"
    );

    near.hawkbit.move_clock(60_000);
    near.hawkbit.progress(action, "finished");
    read(&near).await;
    near.settle().await;

    let device = near.thingsboard.device("pump-0").unwrap();
    assert_eq!(device.attributes["otaStatus"], "finished");
    assert_eq!(
        (&device.attributes["otaSubject"], &device.attributes["otaAction"]),
        (&json!("firmware:2.1"), &json!(action))
    );
    let beginning = FakeHawkbit::BEGINNING;
    let points = [(beginning, "running"), (beginning + 60_000, "finished")];
    let expected: Vec<_> = points.iter().map(|(at, status)| (*at, json!(status))).collect();
    assert_eq!(told(&near, "pump-0"), expected);
}

#[tokio::test]
async fn every_result_is_told_once_across_pages_repetitions_and_lost_answers() {
    let near = with_devices(2).await;
    // More than a page at one and the same moment, and one in the middle that changes while it is read.
    let actions: Vec<_> = (0..250)
        .map(|number| near.hawkbit.assign(&format!("pump-{}", number % 2)))
        .collect();
    assert_eq!(read(&near).await, 250);
    assert_eq!(read(&near).await, 0);
    for (number, action) in actions.iter().enumerate() {
        near.hawkbit.move_clock(7);
        near.hawkbit
            .progress(*action, if number % 3 == 0 { "error" } else { "finished" });
    }
    near.hawkbit.behaves(Behaviour::AnswersAreLost);
    assert!(near.world.services.bridge.updates.read().await.is_err());
    near.both_behave(Behaviour::ALittleTrouble);
    let mut readings = 0;
    while near.world.services.bridge.updates.read().await.ok() != Some(0) {
        readings += 1;
        assert!(readings < 100);
    }
    near.both_behave(Behaviour::Good);
    near.settle().await;

    let results = ["pump-0", "pump-1"].iter().flat_map(|name| told(&near, name));
    let ended = results.filter(|(_, status)| status != "running").count();
    assert_eq!(ended, 250);
}

#[tokio::test]
async fn a_clock_that_jumps_back_hides_nothing_for_longer_than_the_next_comparison() {
    let near = with_devices(1).await;
    near.hawkbit.move_clock(3_600_000);
    let first = near.hawkbit.assign("pump-0");
    near.hawkbit.progress(first, "finished");
    assert_eq!(read(&near).await, 1);

    near.hawkbit.move_clock(-3_600_000);
    near.hawkbit.assign("pump-0");
    assert_eq!(read(&near).await, 0, "it is before what was read");

    near.world.services.bridge.sweep.sweep().await;
    let id = DeviceId::parse("pump-0").unwrap();
    assert_eq!(near.world.store.updates_of(&id).await.unwrap().untold.len(), 2);
}

#[tokio::test]
async fn news_of_hawkbit_take_the_same_path_and_are_no_second_result() {
    let near = with_devices(1).await;
    let action = near.hawkbit.assign("pump-0");
    near.hawkbit.progress(action, "finished");
    let news =
        json!({ "controllerId": "pump-0", "actionId": action, "status": "finished", "ts": FakeHawkbit::BEGINNING + 5 });

    assert_eq!(post(&near, &news).await, (202, json!({ "status": "recorded" })));
    assert_eq!(post(&near, &news).await, (200, json!({ "status": "duplicate" })));
    assert_eq!(read(&near).await, 0);
    near.settle().await;
    assert_eq!(told(&near, "pump-0").len(), 1);

    let odd = json!({ "controllerId": "pump-0", "actionId": action, "status": "dancing" });
    assert_eq!(post(&near, &odd).await, (202, json!({ "status": "ignored" })));
    for (bad, slug) in [
        (json!({ "actionId": 1, "status": "finished" }), "missing-device"),
        (
            json!({ "controllerId": "../x", "actionId": 1, "status": "finished" }),
            "invalid-device-id",
        ),
        (
            json!({ "controllerId": "pump-0", "status": "finished" }),
            "invalid-field",
        ),
        (json!({ "controllerId": "pump-0", "actionId": 1 }), "invalid-field"),
    ] {
        let answer = near
            .world
            .ask("POST", "/webhooks/hawkbit", Some(SECRET), Some(&bad))
            .await;
        assert_eq!(
            (answer.status, answer.slug().as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, slug),
            "{bad}"
        );
    }
}

async fn with_devices(count: usize) -> Neighbourhood {
    let near = Neighbourhood::good().await;
    for number in 0..count {
        let name = format!("pump-{number}");
        near.world.enrolled(&name).await;
        near.connects(&name).await;
    }
    near.settle().await;
    near.world.clock.advance(Duration::from_secs(1));
    near
}

async fn read(near: &Neighbourhood) -> usize {
    near.world.services.bridge.updates.read().await.unwrap()
}

async fn post(near: &Neighbourhood, news: &Value) -> (u16, Value) {
    let answer = near
        .world
        .ask("POST", "/webhooks/hawkbit", Some(SECRET), Some(news))
        .await;
    (answer.status.as_u16(), answer.json())
}

/// What ThingsBoard was told of a device's updates, by time.
fn told(near: &Neighbourhood, name: &str) -> Vec<(i64, Value)> {
    let telemetry = near.thingsboard.device(name).unwrap().telemetry;
    let points = telemetry.into_iter().filter(|((_, key), _)| key == "ota_status");
    points.map(|((at, _), status)| (at, status)).collect()
}
