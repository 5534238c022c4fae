//! What other systems are told, however long that takes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::domain::JobState;
use http::StatusCode;
use serde_json::json;

use crate::support::{Mood, TestDevice, World};

#[tokio::test]
async fn what_cannot_be_done_now_is_done_later() {
    let world = World::new().await;
    let device = world.enrolled("pump-7").await;
    world.hub.goes_away();
    world.ca.is(Mood::Away);

    let answer = world.admin("DELETE", "/devices/pump-7").await;

    assert_eq!(
        answer.json()["systems"],
        json!({ "vpn": "pending", "certificate_authority": "pending" })
    );
    let jobs = world.admin("GET", "/jobs?state=pending").await.json();
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 2);

    world.hub.comes_back();
    world.ca.is(Mood::Good);
    world.clock.advance(Duration::from_mins(1));
    world.work().await;
    assert!(world.services.jobs.list(None).await.unwrap().is_empty());
    assert!(!world.hub.knows(device.wireguard_key));
    assert_eq!(world.ca.revoked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_order_that_nobody_can_carry_out_dies_after_three_days_and_can_be_revived() {
    let world = World::new().await;
    world.enrolled("pump-7").await;
    world.ca.is(Mood::Away);
    world.admin("DELETE", "/devices/pump-7").await;
    let run = async || world.work().await;

    world.clock.advance(Duration::from_mins(1));
    run().await;
    assert!(world.services.jobs.list(Some(JobState::Dead)).await.unwrap().is_empty());
    world.clock.advance(Duration::from_hours(73));
    run().await;

    let dead = world.services.jobs.list(Some(JobState::Dead)).await.unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].last_error.as_deref(), Some("did not answer"));
    let path = format!("/jobs/{}/retry", dead[0].id);
    assert_eq!(world.admin("POST", &path).await.status, StatusCode::ACCEPTED);
    run().await;
    let revived = world.services.jobs.list(Some(JobState::Pending)).await.unwrap();
    assert_eq!(revived.len(), 1, "it has three days again");
    world.ca.is(Mood::Good);
    assert_eq!(world.admin("POST", &path).await.status, StatusCode::ACCEPTED);
    run().await;
    assert!(world.services.jobs.list(None).await.unwrap().is_empty());
    assert_eq!(world.admin("POST", &path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_order_dies_of_five_refusals_however_often_its_system_was_silent_before() {
    let world = World::new().await;
    world.enrolled("pump-7").await;
    world.ca.is(Mood::Away);
    world.admin("DELETE", "/devices/pump-7").await;
    let run = async || {
        world.clock.advance(Duration::from_mins(90));
        world.work().await;
        world.services.jobs.list(None).await.unwrap().remove(0)
    };
    for _ in 0..5 {
        assert_eq!(run().await.state, JobState::Pending);
    }

    world.ca.is(Mood::Refuses);
    for _ in 0..4 {
        assert_eq!(run().await.state, JobState::Pending);
    }
    let dead = run().await;
    assert_eq!(
        (dead.state, dead.last_error.as_deref()),
        (JobState::Dead, Some("refused"))
    );
}

#[tokio::test]
async fn an_enrollment_that_stopped_half_way_goes_on_without_its_device() {
    let world = World::new().await;
    let (device, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);
    world.ca.is(Mood::Away);
    let waiting = world.enroll("pump-7", &token, &device.request()).await;
    assert_eq!(waiting.status, StatusCode::ACCEPTED);
    world.ca.is(Mood::Good);
    let go_on = async || {
        world.services.jobs.resume_enrollments().await.unwrap();
        world.work().await;
        world.admin("GET", "/devices/pump-7").await.json()["state"].clone()
    };

    assert_eq!(go_on().await, json!("admitted"), "the device may be at it");
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(go_on().await, json!("admitted"));
    assert_eq!(world.ca.signed.load(Ordering::Relaxed), 1);
    assert_eq!(go_on().await, json!("enrolled"));

    assert!(world.hub.knows(device.wireguard_key));
    let answer = world.enroll("pump-7", &token, &device.request()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(world.ca.signed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_key_of_the_authority_is_signed_for_nobody_who_asked_while_it_was_away() {
    let world = World::new().await;
    let token = world.token_for("pump-7").await;
    let thief = TestDevice::with_key("pump-7", world.ca.intermediate_key());
    world.ca.is(Mood::Away);
    let waiting = world.enroll("pump-7", &token, &thief.request()).await;
    assert_eq!(waiting.status, StatusCode::ACCEPTED);
    world.ca.is(Mood::Good);

    world.clock.advance(Duration::from_secs(61));
    world.services.jobs.resume_enrollments().await.unwrap();
    world.work().await;
    let again = world.enroll("pump-7", &token, &thief.request()).await;

    assert_eq!(world.ca.signed.load(Ordering::Relaxed), 0);
    assert_eq!(again.status_and_slug(), (422, "csr-rejected".to_owned()));
}

#[tokio::test]
async fn an_enrollment_that_the_authority_refuses_is_shown_to_an_operator_and_not_begun_for_ever() {
    let world = World::new().await;
    let (device, token) = (TestDevice::new("pump-7"), world.token_for("pump-7").await);
    world.ca.is(Mood::Refuses);
    world.enroll("pump-7", &token, &device.request()).await;

    for _ in 0..8 {
        world.clock.advance(Duration::from_mins(90));
        world.services.jobs.resume_enrollments().await.unwrap();
        world.work().await;
    }

    let orders = world.services.jobs.list(None).await.unwrap();
    assert_eq!(
        orders.iter().map(|job| (job.state, job.attempts)).collect::<Vec<_>>(),
        [(JobState::Dead, 5)]
    );
}
