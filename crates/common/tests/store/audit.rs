use std::time::Duration;

use common::domain::{AuditEvent, AuditFilter, AuditTrail, Clock, DeviceRegistry, SessionEnding, SessionLedger};
use common::store::{Migrations, Store, StoreOptions};

use super::databases::TestDatabase;
use super::fleet::{Fleet, admin, id, session_on};

pub(crate) async fn every_change_has_its_record<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let device = fleet.enroll("pump-7").await;
    let session = session_on(&device);
    fleet.store.open_session(&session).await.unwrap();
    fleet.store.request_end(session.id, &admin()).await.unwrap();
    let ending = SessionEnding {
        reason: "killed",
        output_bytes: 0,
        input_bytes: 0,
        recording: None,
    };
    fleet.store.close_session(&session, &ending).await.unwrap();
    fleet.quarantine("pump-7").await.unwrap();
    fleet.release("pump-7").await.unwrap();
    fleet
        .store
        .allow_reenroll(&device.id, &admin(), fleet.clock.now())
        .await
        .unwrap();
    fleet.retire("pump-7").await.unwrap();

    assert_eq!(
        fleet.actions().await,
        [
            "token.created",
            "device.admitted",
            "certificate.issued",
            "device.enrolled",
            "session.opened",
            "session.end_requested",
            "session.closed",
            "device.quarantined",
            "device.released",
            "device.reenroll_allowed",
            "device.retired",
        ]
    );
    fleet.end().await;
}

pub(crate) async fn each_instance_has_a_chain_of_its_own<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let event = AuditEvent {
        actor: admin(),
        action: "config.changed",
        device_id: None,
        detail: serde_json::json!({ "z": 1, "a": [null, "ä"] }),
    };
    fleet.store.record(&event).await.unwrap();
    let (database, clock) = (fleet.database, fleet.clock);
    fleet.store.close().await;
    drop(fleet.store);
    let options = StoreOptions {
        migrations: Migrations::Refuse,
        ..StoreOptions::new("bridge-2")
    };
    let store = Store::open(database.url(), options, clock.clone()).await.unwrap();

    store.record(&event).await.unwrap();
    store.record(&event).await.unwrap();

    let records = store
        .audit(&AuditFilter {
            limit: 10,
            ..AuditFilter::default()
        })
        .await
        .unwrap();
    let places: Vec<_> = records
        .iter()
        .map(|record| (record.instance.as_str(), record.sequence))
        .collect();
    assert_eq!(places, [("bridge-1", 1), ("bridge-2", 2), ("bridge-2", 1)]);
    assert_eq!(
        (&records[0].detail, records[0].actor.as_str()),
        (&event.detail, "operator:b1946ac9:ada")
    );
    assert_ne!(records[1].hash, records[2].hash);
    Fleet { database, store, clock }.end().await;
}

pub(crate) async fn a_changed_record_is_found<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    assert_eq!(fleet.store.verify_audit().await.unwrap(), Vec::<String>::new());

    fleet
        .database
        .tamper("UPDATE audit SET actor = 'nobody' WHERE sequence = 2")
        .await;

    let faults = fleet.store.verify_audit().await.unwrap();
    assert_eq!(faults, ["record 2 of the audit chain of `bridge-1` was changed"]);
    fleet.end_broken().await;
}

pub(crate) async fn a_removed_record_is_found<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;

    fleet.database.tamper("DELETE FROM audit WHERE sequence = 2").await;
    let faults = fleet.store.verify_audit().await.unwrap();
    assert_eq!(faults, ["the audit chain of `bridge-1` has a gap after record 1"]);

    fleet.database.tamper("DELETE FROM audit_head").await;
    let faults = fleet.store.verify_audit().await.unwrap();
    assert_eq!(faults, ["the audit chain of `bridge-1` has no head"]);
    fleet.end_broken().await;
}

pub(crate) async fn a_cut_end_is_found<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;

    fleet.database.tamper("DELETE FROM audit WHERE sequence > 2").await;

    let faults = fleet.store.verify_audit().await.unwrap();
    assert_eq!(faults, ["the audit chain of `bridge-1` does not end at its head"]);
    fleet.end_broken().await;
}

pub(crate) async fn records_are_filtered_by_device_and_time<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    fleet.clock.advance(Duration::from_mins(1));
    let noon = fleet.clock.now();
    fleet.enroll("pump-8").await;
    let all = AuditFilter {
        limit: 100,
        ..AuditFilter::default()
    };
    let count = async |filter: AuditFilter| fleet.store.audit(&filter).await.unwrap().len();

    assert_eq!(count(all.clone()).await, 8);
    assert_eq!(
        count(AuditFilter {
            device_id: Some(id("pump-8")),
            ..all.clone()
        })
        .await,
        3
    );
    assert_eq!(
        count(AuditFilter {
            before: Some(noon),
            ..all.clone()
        })
        .await,
        4
    );
    assert_eq!(count(AuditFilter { limit: 1, ..all }).await, 1);
    fleet.end().await;
}
