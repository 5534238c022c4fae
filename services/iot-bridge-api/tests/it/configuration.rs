//! What a device is told about the systems beside us, and the key to the metrics store that it is given.

use std::sync::Arc;

use common::chassis::http_client::{self, HttpClientOptions};
use fakes::hawkbit::FakeHawkbit;
use fakes::influxdb::{Behaviour, FakeInfluxDb};
use fakes::thingsboard::FakeThingsBoard;
use http::StatusCode;
use iot_bridge_api::adapters::influxdb::{InfluxDb, InfluxDbOptions};
use iot_bridge_api::adapters::thingsboard::ThingsBoardLogin;
use iot_bridge_api::app::configuration::{DevicePlaces, UpdatePlace};
use iot_bridge_api::ports::MetricsPlace;
use serde_json::{Value, json};

use crate::support::World;
use crate::support::neighbours::{Neighbourhood, parts, row};

const PATH: &str = "/devices/pump-7/configuration";

#[tokio::test]
async fn a_device_is_told_where_everything_is_and_gets_a_key_that_can_only_write() {
    let (near, influx) = neighbourhood().await;
    let (_, leaf) = near.world.certified("pump-7").await;
    let before = near.world.as_device("GET", PATH, &leaf, None).await;
    assert_eq!(
        (before.json()["influx"].clone(), before.json()["hawkbit"].clone()),
        (Value::Null, Value::Null)
    );

    near.connects("pump-7").await;
    near.settle().await;

    let answer = near.world.as_device("GET", PATH, &leaf, None).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let told = answer.json();
    let token = told["influx"]["token"].as_str().unwrap();
    assert!(influx.can_only_write(token), "{told}");
    let secret = near.hawkbit.target("pump-7").unwrap().security_token;
    assert_eq!(
        told,
        json!({
            "mqtt_url": "mqtts://things.example.com:8883",
            "hawkbit": { "url": "https://updates.example.com/", "tenant": "DEFAULT", "target_token": secret },
            "influx": { "url": "http://10.8.0.1:8086/", "org": "iot", "bucket": "telemetry", "token": token },
            "server_time": told["server_time"],
        })
    );
    let again = near.world.as_device("GET", PATH, &leaf, None).await;
    assert_eq!(again.json()["influx"]["token"], token, "the key stays the same");
}

#[tokio::test]
async fn a_key_lives_as_long_as_its_device_is_in_service() {
    let (near, influx) = neighbourhood().await;
    for name in ["pump-7", "pump-8"] {
        near.world.enrolled(name).await;
    }
    near.settle().await;
    assert_eq!(influx.descriptions(), ["iot-bridge pump-7", "iot-bridge pump-8"]);

    near.world.admin("POST", "/devices/pump-7/quarantine").await;
    let gone = near.world.admin("DELETE", "/devices/pump-8").await;
    near.settle().await;

    assert_eq!(influx.descriptions(), Vec::<String>::new());
    let said = gone.json()["systems"].to_string();
    assert!(said.contains("metrics_store"), "{said}");
    near.world.admin("POST", "/devices/pump-7/release").await;
    near.settle().await;
    assert_eq!(influx.descriptions(), ["iot-bridge pump-7"]);
}

#[tokio::test]
async fn a_key_that_somebody_deleted_or_changed_is_replaced() {
    let (near, influx) = neighbourhood().await;
    let (_, leaf) = near.world.certified("pump-7").await;
    near.connects("pump-7").await;
    near.settle().await;
    let token = async || near.world.as_device("GET", PATH, &leaf, None).await.json()["influx"]["token"].clone();
    let mut tokens = vec![token().await];
    let faults: [&dyn Fn(&FakeInfluxDb); 3] = [
        &FakeInfluxDb::delete_all,
        &|influx| influx.change_all(|it| it["status"] = json!("inactive")),
        &|influx| influx.change_all(|it| it["permissions"][0]["action"] = json!("read")),
    ];
    for fault in faults {
        fault(&influx);

        assert_eq!(near.world.services.bridge.sweep.sweep().await, 1);
        near.settle().await;

        let fresh = token().await;
        assert!(!tokens.contains(&fresh), "{tokens:?}");
        assert!(influx.can_only_write(fresh.as_str().unwrap()));
        assert_eq!(influx.descriptions().len(), 1);
        tokens.push(fresh);
    }
    influx.delete_all();
    near.world.services.bridge.sweep.sweep().await;
    assert_eq!(near.drift().await, json!([row("metrics_store", "pump-7", "missing")]));
}

#[tokio::test]
async fn whatever_the_metrics_store_does_a_device_ends_with_one_good_key() {
    for seed in 0..12 {
        let (near, influx) = neighbourhood_with_seed(seed).await;
        let (_, leaf) = near.world.certified("pump-7").await;
        for behaviour in [
            Behaviour::AnswersAreLost,
            Behaviour::Down,
            Behaviour::Html,
            Behaviour::Redirect,
        ] {
            influx.behaves(behaviour);
            near.work().await;
        }
        influx.behaves(Behaviour::ALittleTrouble);
        near.settle().await;

        let told = near.world.as_device("GET", PATH, &leaf, None).await.json();
        assert!(
            influx.can_only_write(told["influx"]["token"].as_str().unwrap()),
            "{told}"
        );
    }
}

#[tokio::test]
async fn while_the_update_server_is_away_the_device_keeps_what_it_has() {
    let (near, _influx) = neighbourhood().await;
    let (_, leaf) = near.world.certified("pump-7").await;
    near.hawkbit.behaves(Behaviour::Down);

    let away = near.world.as_device("GET", PATH, &leaf, None).await;
    assert_eq!(away.status_and_slug(), (503, "neighbour-unavailable".to_owned()));
    assert!(away.headers.contains_key("retry-after"));

    near.hawkbit.behaves(Behaviour::Html);
    let odd = near.world.as_device("GET", PATH, &leaf, None).await;
    assert_eq!(odd.status_and_slug(), (502, "neighbour-bad-answer".to_owned()));
}

#[tokio::test]
async fn without_neighbours_everything_is_null() {
    let world = World::new().await;
    let (_, leaf) = world.certified("pump-7").await;

    let told = world.as_device("GET", PATH, &leaf, None).await.json();

    let nothing = json!({ "mqtt_url": null, "hawkbit": null, "influx": null, "server_time": told["server_time"] });
    assert_eq!(told, nothing);
}

async fn neighbourhood() -> (Neighbourhood, FakeInfluxDb) {
    let (near, influx) = neighbourhood_with_seed(1).await;
    influx.behaves(Behaviour::Good);
    (near, influx)
}

async fn neighbourhood_with_seed(seed: u64) -> (Neighbourhood, FakeInfluxDb) {
    let (thingsboard, hawkbit) = (FakeThingsBoard::start().await, FakeHawkbit::start().await);
    let influx = FakeInfluxDb::start_with_seed(seed).await;
    let login = ThingsBoardLogin::ApiKey(FakeThingsBoard::API_KEY.into());
    let client = http_client::build(&HttpClientOptions::default()).unwrap();
    let options = InfluxDbOptions {
        url: influx.url().parse().unwrap(),
        token: FakeInfluxDb::TOKEN.into(),
        place: MetricsPlace {
            url: "http://10.8.0.1:8086".parse().unwrap(),
            organization: FakeInfluxDb::ORGANIZATION.to_owned(),
            bucket: FakeInfluxDb::BUCKET.to_owned(),
        },
    };
    let mut parts = parts(&thingsboard, login, &hawkbit);
    parts.metrics = Some(Arc::new(InfluxDb::new(client, options)));
    parts.places = DevicePlaces {
        mqtt: Some("mqtts://things.example.com:8883".parse().unwrap()),
        updates: Some(UpdatePlace {
            url: "https://updates.example.com".parse().unwrap(),
            tenant: "DEFAULT".to_owned(),
        }),
    };
    let near = Neighbourhood {
        world: World::beside(parts).await,
        thingsboard,
        hawkbit,
    };
    near.both_behave(Behaviour::Good);
    (near, influx)
}
