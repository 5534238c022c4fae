use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::databases::{SqliteFile, TestDatabase};
use super::fleet::Fleet;

/// Both databases are compared with SQLite's tables.
pub(crate) async fn the_columns_are_those_of_both_databases<D: TestDatabase>() {
    let (fleet, reference) = (Fleet::<D>::new().await, Fleet::<SqliteFile>::new().await);

    let columns = fleet.database.columns().await;

    assert!(columns.len() > 100, "{columns:?}");
    assert_eq!(columns, reference.database.columns().await);
    reference.end().await;
    fleet.end().await;
}

pub(crate) async fn what_was_changed_by_hand_is_found<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    for name in ["a", "b", "c"] {
        fleet.enroll(name).await;
    }
    for statement in [
        "UPDATE wireguard_key SET device_id = 'a', replaced_at = 1 WHERE device_id = 'b'",
        "UPDATE device_key SET device_id = 'a' WHERE device_id = 'b'",
        "UPDATE certificate SET state = 'superseded' WHERE device_id = 'c'",
        "UPDATE enrollment_token SET used = 0 WHERE id_pattern = 'a'",
        "UPDATE device SET address = 1 WHERE id = 'a'",
        "INSERT INTO released_address (address, device_id, free_at) SELECT address, id, 0 FROM device WHERE id = 'b'",
    ] {
        fleet.database.tamper(statement).await;
    }

    let faults = fleet.store.check_invariants().await.unwrap();

    let sentences: BTreeSet<_> = faults.iter().map(|fault| fault.split_once(": ").unwrap().0).collect();
    assert_eq!(sentences.len(), 7, "{faults:#?}");
    fleet.end_broken().await;
}

#[test]
fn both_databases_have_the_same_migrations() {
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    let names = |database| {
        let files = fs::read_dir(migrations.join(database)).unwrap();
        files.map(|file| file.unwrap().file_name()).collect::<BTreeSet<_>>()
    };

    assert!(!names("sqlite").is_empty());
    assert_eq!(names("sqlite"), names("postgres"));
}
