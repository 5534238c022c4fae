use std::time::Duration;

use common::domain::{DeviceId, DriftKind, GroupName, IssuedCertificate, JobState};
use fakes::hawkbit::FakeHawkbit;
use fakes::thingsboard::{Behaviour, FakeThingsBoard};
use http::StatusCode;
use iot_bridge_api::adapters::thingsboard::ThingsBoardLogin;
use iot_bridge_api::ports::{Passport, UpstreamError};
use secrecy::SecretString;
use serde_json::json;

use crate::support::neighbours::{Neighbourhood, parts, row};
use crate::support::{NOW, TestDevice};

#[tokio::test]
async fn an_enrolled_device_is_known_to_thingsboard_by_its_exact_leaf_and_to_hawkbit_when_it_connects() {
    let near = Neighbourhood::good().await;
    near.world.enrolled("pump-7").await;

    near.settle().await;
    assert_eq!(
        near.thingsboard.lets_in(&near.leaf("pump-7").await).as_deref(),
        Some("pump-7")
    );
    let attributes = near.thingsboard.device("pump-7").unwrap().attributes;
    assert_eq!(attributes["vpnAddress"], "10.8.0.2");
    assert_eq!(attributes["certificateNotAfter"], "2026-05-31T12:00:00Z");
    assert_eq!(near.hawkbit.ids(), Vec::<String>::new());

    assert_eq!(near.connects("pump-7").await.status, StatusCode::ACCEPTED);
    near.settle().await;
    let target = near.hawkbit.target("pump-7").unwrap();
    assert_eq!(target.metadata["bridge_vpn_address"], "10.8.0.2");
    assert_eq!(
        (target.metadata["bridge_state"].as_str(), target.group.as_deref()),
        ("in-service", Some("default"))
    );
    let shown = near.world.admin("GET", "/devices/pump-7").await.json();
    assert_eq!(shown["last_connected_at"], "2026-05-01T12:00:00Z");
}

#[tokio::test]
async fn thingsboard_gets_a_renewed_certificate_when_it_is_used_first_and_not_before() {
    let near = Neighbourhood::good().await;
    let (device, old) = near.world.certified("pump-7").await;
    near.settle().await;
    let path = "/devices/pump-7/renew";
    let csr = json!({ "csr": device.csr });
    let new = near
        .world
        .as_device("POST", path, &old, Some(&csr))
        .await
        .field("certificate");
    near.settle().await;
    let believed = |leaf: &str| near.thingsboard.lets_in(leaf).is_some();
    assert!(believed(&old) && !believed(&new), "the new one is pending");

    let path = "/devices/pump-7/checkin";
    assert_eq!(
        near.world.as_device("POST", path, &new, None).await.status,
        StatusCode::OK
    );
    near.settle().await;

    assert!(believed(&new) && !believed(&old));
}

#[tokio::test]
async fn type_and_name_of_a_device_are_those_of_its_target_also_when_someone_deleted_the_type() {
    let near = Neighbourhood::good().await;
    for name in ["pump-7", "pump-8"] {
        let device = TestDevice::new(name);
        let mut body = device.request();
        body["device_type"] = json!("Pump MK II");
        body["device_name"] = json!("The pump in the cellar");
        let token = near.world.token_for(name).await;
        assert_eq!(near.world.enroll(name, &token, &body).await.status, StatusCode::CREATED);
        near.connects(name).await;
        near.settle().await;
        assert_eq!(near.hawkbit.type_of(name).as_deref(), Some("pump-mk-ii"));
        assert_eq!(near.hawkbit.target(name).unwrap().name, "The pump in the cellar");
        near.hawkbit.delete_types();
    }
}

#[tokio::test]
async fn a_decommissioned_device_is_gone_from_both_and_what_it_reports_later_brings_nothing_back() {
    let near = Neighbourhood::good().await;
    near.world.enrolled("pump-7").await;
    near.connects("pump-7").await;
    near.settle().await;

    let answer = near.world.admin("DELETE", "/devices/pump-7").await.json();

    assert_eq!(answer["systems"]["device_platform"], "removed");
    assert_eq!(answer["systems"]["update_server"], "removed");
    assert!(near.thingsboard.names().is_empty() && near.hawkbit.ids().is_empty());
    near.world.clock.advance(Duration::from_mins(1));
    near.connects("pump-7").await;
    near.settle().await;
    assert!(near.thingsboard.names().is_empty() && near.hawkbit.ids().is_empty());
}

#[tokio::test]
async fn a_device_in_quarantine_is_believed_by_nobody_and_is_after_its_release() {
    let near = Neighbourhood::good().await;
    near.world.enrolled("pump-7").await;
    near.connects("pump-7").await;
    near.settle().await;
    let (leaf, before) = (near.leaf("pump-7").await, near.hawkbit.target("pump-7").unwrap());

    near.world.admin("POST", "/devices/pump-7/quarantine").await;
    let shut_out = near.hawkbit.target("pump-7").unwrap();
    assert_eq!(near.thingsboard.lets_in(&leaf), None);
    assert_ne!(shut_out.security_token, before.security_token);
    assert_eq!(shut_out.metadata["bridge_state"], "shut-out");

    near.world.admin("POST", "/devices/pump-7/release").await;
    assert_eq!(near.thingsboard.lets_in(&leaf).as_deref(), Some("pump-7"));
    assert_eq!(
        near.hawkbit.target("pump-7").unwrap().metadata["bridge_state"],
        "in-service"
    );
}

#[tokio::test]
async fn hours_of_outage_delay_everything_and_lose_nothing() {
    let near = Neighbourhood::good().await;
    near.both_behave(Behaviour::Down);
    for name in ["pump-1", "pump-2", "pump-3"] {
        near.world.enrolled(name).await;
        near.connects(name).await;
    }
    for _ in 0..24 {
        near.work().await;
        near.world.clock.advance(Duration::from_hours(1));
    }
    assert_eq!(
        near.world
            .services
            .jobs
            .list(Some(JobState::Pending))
            .await
            .unwrap()
            .len(),
        6
    );
    near.world.services.backlog.count().await.unwrap();
    let metrics = String::from_utf8(near.world.ask("GET", "/metrics", None, None).await.body).unwrap();
    let oldest = "oldest_order_age_seconds{system=\"update_server\"} 86400";
    assert!(metrics.contains(oldest) && metrics.contains("orders{system=\"device_platform\",state=\"pending\"} 3"));
    let requests = near.hawkbit.requests();
    assert!(requests < 60, "{requests} requests to a system that is away");

    near.both_behave(Behaviour::Good);
    near.work().await;
    near.work().await;
    assert_eq!(
        near.hawkbit.ids().len(),
        3,
        "a system that is back gets all orders at once"
    );
    near.settle().await;
    assert_eq!(near.thingsboard.names().len(), 3);
}

#[tokio::test]
async fn dead_orders_come_back_when_the_system_does() {
    let near = Neighbourhood::good().await;
    near.thingsboard.behaves(Behaviour::Down);
    near.world.enrolled("pump-1").await;
    near.work().await;
    near.world.clock.advance(Duration::from_hours(73));
    near.work().await;
    assert_eq!(
        near.world.services.jobs.list(Some(JobState::Dead)).await.unwrap().len(),
        1
    );
    let ready = near.world.ask("GET", "/readyz", None, None).await;
    assert_eq!(ready.status, StatusCode::OK, "the service works all the same");
    let orders = &ready.json()["dependencies"]["orders"];
    assert!(orders["hint"].as_str().unwrap().starts_with("1 orders"), "{orders}");
    for number in 2..8 {
        near.world.enrolled(&format!("pump-{number}")).await;
        near.work().await;
    }

    near.thingsboard.behaves(Behaviour::Good);
    near.settle().await;

    assert_eq!(near.thingsboard.names().len(), 7);
}

#[tokio::test]
async fn whatever_goes_wrong_a_little_both_are_told_everything_in_the_end() {
    for seed in [3, 5, 8, 13] {
        let near = Neighbourhood::with_seed(seed).await;
        for number in 0..8 {
            let name = format!("pump-{number}");
            near.world.enrolled(&name).await;
            near.connects(&name).await;
        }
        near.settle().await;
        near.both_behave(Behaviour::Good);
        assert_eq!(
            near.world.services.bridge.sweep.sweep().await,
            0,
            "{}",
            near.drift().await
        );
        assert_eq!((near.thingsboard.names().len(), near.hawkbit.ids().len()), (8, 8));
    }
}

#[tokio::test]
async fn answers_that_are_lost_or_nonsense_or_lead_elsewhere_are_tried_again() {
    let moods = [
        Behaviour::AnswersAreLost,
        Behaviour::Html,
        Behaviour::Redirect,
        Behaviour::TooManyRequests(1),
    ];
    for mood in moods {
        let near = Neighbourhood::good().await;
        near.both_behave(mood);
        near.world.enrolled("pump-7").await;
        near.connects("pump-7").await;
        near.work().await;
        assert_eq!(near.world.services.jobs.list(None).await.unwrap().len(), 2, "{mood:?}");

        near.both_behave(Behaviour::Good);
        near.world.clock.advance(Duration::from_mins(1));
        near.settle().await;
        assert!(
            near.thingsboard.device("pump-7").is_some() && near.hawkbit.target("pump-7").is_some(),
            "{mood:?}"
        );
    }
}

#[tokio::test]
async fn a_system_that_asks_for_quiet_gets_it() {
    let near = Neighbourhood::good().await;
    near.hawkbit.behaves(Behaviour::TooManyRequests(60));
    near.world.enrolled("pump-7").await;
    near.connects("pump-7").await;
    near.work().await;
    assert_eq!(near.hawkbit.requests(), 1);

    near.world.clock.advance(Duration::from_secs(20));
    near.work().await;

    assert_eq!(near.hawkbit.requests(), 1, "it was asked again within its minute");
}

#[tokio::test]
async fn a_login_is_kept_alive() {
    let (thingsboard, hawkbit) = (FakeThingsBoard::start().await, FakeHawkbit::start().await);
    thingsboard.behaves(Behaviour::Good);
    let login = |password: &str| ThingsBoardLogin::Password {
        user: FakeThingsBoard::USER.to_owned(),
        password: SecretString::from(password),
    };
    let platform = parts(&thingsboard, login(FakeThingsBoard::PASSWORD), &hawkbit)
        .platform
        .unwrap();

    platform.ensure(&passport("pump-7")).await.unwrap();
    thingsboard.expire_tokens();
    let found = platform.differences(&passport("pump-7")).await.unwrap();
    assert_eq!(found, []);

    let wrong = parts(&thingsboard, login("another"), &hawkbit).platform.unwrap();
    let refused = wrong.ensure(&passport("pump-8")).await;
    assert!(matches!(refused, Err(UpstreamError::Unavailable { .. })), "{refused:?}");
    assert_eq!(
        platform.differences(&passport("pump-8")).await.unwrap(),
        [DriftKind::Missing]
    );
}

#[tokio::test]
async fn a_leaf_that_another_device_has_there_is_refused_and_shown() {
    let near = Neighbourhood::good().await;
    near.world.enrolled("pump-7").await;
    near.settle().await;
    let stolen = near.thingsboard.device("pump-7").unwrap();
    near.thingsboard.delete("pump-7");
    near.thingsboard.change("thief", |thief| {
        thief.credentials_type = stolen.credentials_type;
        thief.credentials_id = stolen.credentials_id;
    });

    near.world.services.bridge.sweep.sweep().await;
    for _ in 0..10 {
        near.work().await;
        near.world.clock.advance(Duration::from_mins(10));
    }

    let dead = near.world.services.jobs.list(Some(JobState::Dead)).await.unwrap();
    assert_eq!(dead[0].last_error.as_deref(), Some("refused"));
    let drift = near.drift().await;
    assert_eq!(
        drift,
        json!([
            row("device_platform", "pump-7", "missing"),
            row("device_platform", "thief", "foreign")
        ])
    );
}

fn passport(name: &str) -> Passport {
    Passport {
        id: DeviceId::parse(name).unwrap(),
        display_name: None,
        device_type: None,
        group: GroupName::default(),
        address: "10.8.0.2".parse().unwrap(),
        certificate: IssuedCertificate {
            serial: "01".to_owned(),
            leaf_pem: format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"),
            ca_chain_pem: String::new(),
            intermediates: 1,
            not_before: NOW,
            not_after: NOW + Duration::from_hours(24),
        },
        update: None,
    }
}
