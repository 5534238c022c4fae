use std::sync::Arc;
use std::time::{Duration, Instant};

use common::domain::{AuditFilter, AuditTrail as _};
use fakes::thingsboard::Behaviour;
use http::StatusCode;
use iot_bridge_api::app::neighbours::Neighbours;
use iot_bridge_api::app::sweep::{Sweep, SweepParts};
use iot_bridge_api::app::updates::Updates;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::neighbours::{Neighbourhood, row};
use crate::support::{Lease, World};

#[tokio::test]
async fn whatever_was_changed_by_hand_is_found_and_put_right() {
    let near = Neighbourhood::good().await;
    for name in ["deleted", "swapped", "edited", "shut-out", "gone"] {
        near.world.enrolled(name).await;
        near.connects(name).await;
    }
    near.settle().await;
    near.world.admin("POST", "/devices/shut-out/quarantine").await;
    near.world.admin("DELETE", "/devices/gone").await;
    let leaf = near.leaf("shut-out").await;
    change_by_hand(&near, &leaf);

    let ordered = near.world.services.bridge.sweep.sweep().await;

    let expected = json!([
        row("device_platform", "Somebody else's", "foreign"),
        row("device_platform", "deleted", "missing"),
        row("device_platform", "edited", "wrong_metadata"),
        row("device_platform", "gone", "shut_out_present"),
        row("device_platform", "shut-out", "shut_out_present"),
        row("device_platform", "swapped", "wrong_credentials"),
        row("update_server", "deleted", "missing"),
        row("update_server", "edited", "wrong_metadata"),
        row("update_server", "gone", "shut_out_present"),
        row("update_server", "stranger", "foreign"),
    ]);
    assert_eq!((near.drift().await, ordered), (expected, 8));
    near.settle().await;
    assert_eq!(
        near.world.services.bridge.sweep.sweep().await,
        0,
        "{}",
        near.drift().await
    );
    let left = json!([
        row("device_platform", "Somebody else's", "foreign"),
        row("update_server", "stranger", "foreign"),
    ]);
    assert_eq!(near.drift().await, left);
    assert_eq!(near.thingsboard.lets_in(&leaf), None);
    let filter = AuditFilter {
        limit: 1000,
        ..AuditFilter::default()
    };
    let audit = near.world.store.audit(&filter).await.unwrap();
    assert_eq!(
        audit
            .iter()
            .filter(|record| record.action == "drift.repair_ordered")
            .count(),
        8
    );
}

#[tokio::test]
async fn an_admin_sees_what_differs_and_has_it_put_right() {
    let near = Neighbourhood::good().await;
    near.world.enrolled("pump-7").await;
    near.settle().await;
    near.thingsboard.delete("pump-7");
    near.world.services.bridge.sweep.sweep().await;
    near.settle().await;
    near.thingsboard.delete("pump-7");

    let seen = near.world.admin("GET", "/drift").await.json();
    assert_eq!(seen["checked_at"]["device_platform"], "2026-05-01T12:00:00Z");
    assert_eq!(seen["drift"], json!([row("device_platform", "pump-7", "missing")]));
    let applied = near.world.admin("POST", "/drift/apply").await;
    assert_eq!(
        (applied.status, applied.json()),
        (StatusCode::ACCEPTED, json!({ "ordered": 1 }))
    );

    near.settle().await;
    assert_eq!(near.thingsboard.names(), ["pump-7"]);
}

#[tokio::test]
async fn a_device_whose_connection_nobody_reported_is_known_after_it_was_seen_some_other_way() {
    let near = Neighbourhood::good().await;
    near.world.enrolled("pump-7").await;
    near.settle().await;
    assert_eq!(near.world.services.bridge.sweep.sweep().await, 0);

    near.connects("pump-7").await;
    near.hawkbit.behaves(Behaviour::Down);
    near.work().await;
    assert_eq!(
        near.world.services.bridge.sweep.sweep().await,
        0,
        "what is away is not compared"
    );
    near.hawkbit.behaves(Behaviour::Good);
    assert_eq!(near.world.services.bridge.sweep.sweep().await, 1);
}

#[tokio::test]
async fn a_list_of_several_pages_is_read_to_its_end() {
    let near = Neighbourhood::good().await;
    for number in 0..250 {
        near.thingsboard.change(&format!("stranger-{number}"), |_| {});
        near.hawkbit.change(&format!("stranger-{number}"), |_| {});
    }

    let begin = Instant::now();
    near.world.services.bridge.sweep.sweep().await;

    assert_eq!(
        near.drift().await.as_array().unwrap().len(),
        500,
        "{:?}",
        begin.elapsed()
    );
}

fn change_by_hand(near: &Neighbourhood, leaf: &str) {
    let believed = near.thingsboard.device("edited").unwrap();
    near.thingsboard.delete("deleted");
    near.thingsboard
        .change("swapped", |device| device.credentials_value = Some("AAAA".to_owned()));
    near.thingsboard.change("edited", |device| {
        device.attributes.insert("vpnAddress".to_owned(), json!("10.8.0.99"));
    });
    near.thingsboard.change("shut-out", |device| {
        device.credentials_type.clone_from(&believed.credentials_type);
        device.credentials_value = Some(leaf.to_owned());
    });
    near.thingsboard.change("gone", |_| {});
    near.thingsboard.change("Somebody else's", |_| {});
    near.hawkbit.delete("deleted");
    near.hawkbit.change("edited", |target| {
        target
            .metadata
            .insert("bridge_vpn_address".to_owned(), "10.8.0.99".to_owned());
        target
            .metadata
            .insert("note".to_owned(), "an operator's own".to_owned());
    });
    near.hawkbit.change("gone", |_| {});
    near.hawkbit.change("stranger", |_| {});
}

/// After a restore everything starts at once, and whoever lost devices may be the last to come up.
#[tokio::test]
async fn a_neighbour_that_was_away_is_compared_as_soon_as_it_is_back() {
    let near = Neighbourhood::good().await;
    near.world.enrolled("pump-1").await;
    near.settle().await;
    near.thingsboard.delete("pump-1");
    let sweep = &near.world.services.bridge.sweep;

    near.thingsboard.behaves(Behaviour::Down);
    assert_eq!(sweep.sweep().await, 0);
    assert_eq!(sweep.sweep_again().await, 0);

    near.thingsboard.behaves(Behaviour::Good);
    assert_eq!(sweep.sweep_again().await, 1);
    near.settle().await;
    assert!(near.thingsboard.device("pump-1").is_some());
    let asked = near.thingsboard.requests();
    assert_eq!(sweep.sweep_again().await, 0);
    assert_eq!(near.thingsboard.requests(), asked, "nobody is away any more");
}

#[tokio::test]
async fn a_process_that_stops_lets_another_one_compare() {
    let world = World::new().await;
    let (rights, mut is_held) = watch::channel(false);
    let (stop, mut running) = (CancellationToken::new(), JoinSet::new());
    let sweep = Arc::new(alone(&world, Arc::new(Lease::free(rights))));
    running.spawn(sweep.run(Duration::from_mins(15), stop.clone()));
    is_held.wait_for(|is_held| *is_held).await.unwrap();

    stop.cancel();
    running.join_all().await;

    assert!(!*is_held.borrow());
}

/// Compares with nobody.
fn alone(world: &World, ledger: Arc<Lease>) -> Sweep {
    let database = Arc::new(world.store.clone());
    let updates = Updates::new(None, database.clone(), Vec::new(), world.clock.clone());
    Sweep::new(SweepParts {
        directory: database.clone(),
        ledger,
        inbox: database.clone(),
        neighbours: Arc::new(Neighbours::new(None, None, database.clone(), database)),
        updates: Arc::new(updates),
        clock: world.clock.clone(),
    })
}
