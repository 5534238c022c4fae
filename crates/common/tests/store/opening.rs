use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use common::domain::{DeviceDirectory, ManualClock};
use common::store::{Migrations, OpenError, Store, StoreOptions};

use super::databases::{SqliteFile, TestDatabase};
use super::fleet::{Fleet, id, noon};

pub(crate) async fn a_store_that_is_opened_again_finds_its_fleet<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let device = fleet.enroll("pump-7").await;
    let (database, clock) = (fleet.database, fleet.clock);
    fleet.store.close().await;
    drop(fleet.store);

    let store = Store::open(database.url(), StoreOptions::new("bridge-1"), clock.clone())
        .await
        .unwrap();

    assert_eq!(store.find(&id("pump-7")).await.unwrap(), Some(device));
    Fleet { database, store, clock }.end().await;
}

pub(crate) async fn pending_migrations_are_refused_when_told_so<D: TestDatabase>() {
    let database = D::create().await;
    let options = StoreOptions {
        migrations: Migrations::Refuse,
        ..StoreOptions::new("proxy-1")
    };

    let empty = open(database.url(), options.clone()).await;
    assert!(matches!(empty, Err(OpenError::PendingMigrations)), "{empty:?}");

    open(database.url(), StoreOptions::new("bridge-1"))
        .await
        .unwrap()
        .close()
        .await;
    open(database.url(), options).await.unwrap().close().await;
    database.remove().await;
}

pub(crate) async fn a_migration_of_another_program_is_refused<D: TestDatabase>() {
    let database = D::create().await;
    open(database.url(), StoreOptions::new("bridge-1"))
        .await
        .unwrap()
        .close()
        .await;
    database
        .tamper("UPDATE _sqlx_migrations SET version = version + 9998")
        .await;

    for migrations in [Migrations::Run, Migrations::Refuse] {
        let newer = open(
            database.url(),
            StoreOptions {
                migrations,
                ..StoreOptions::new("bridge-1")
            },
        )
        .await;
        assert!(matches!(newer, Err(OpenError::ForeignMigrations { .. })), "{newer:?}");
    }
    database.remove().await;
}

pub(crate) async fn the_database_gives_a_sign_of_life<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.store.ping().await.unwrap();

    fleet.store.close().await;
    assert!(fleet.store.ping().await.is_err());
    fleet.database.remove().await;
}

#[tokio::test]
async fn a_sqlite_file_belongs_to_one_store() {
    let database = SqliteFile::create().await;
    let first = open(database.url(), StoreOptions::new("bridge-1")).await.unwrap();

    let second = open(database.url(), StoreOptions::new("proxy-1")).await;
    assert!(matches!(second, Err(OpenError::AlreadyInUse { .. })), "{second:?}");

    drop(first);
    open(database.url(), StoreOptions::new("proxy-1")).await.unwrap();
}

#[tokio::test]
async fn only_the_owner_can_read_a_sqlite_database() {
    let database = SqliteFile::create().await;
    let store = open(database.url(), StoreOptions::new("bridge-1")).await.unwrap();

    for name in ["bridge.db", "bridge.db-wal", "bridge.db-shm", "bridge.db.lock"] {
        let mode = fs::metadata(database.folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_damaged_sqlite_file_is_refused_and_left_alone() {
    let database = SqliteFile::create().await;
    let path = database.folder.path().join("bridge.db");
    let rubbish = vec![0x5a; 8192];
    fs::write(&path, &rubbish).unwrap();

    let opened = open(database.url(), StoreOptions::new("bridge-1")).await;

    assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{opened:?}");
    assert_eq!(fs::read(&path).unwrap(), rubbish);
}

#[tokio::test]
async fn an_address_of_no_known_database_is_refused() {
    for url in ["", "bridge.db", "mysql://root@localhost/db", "/var/lib/bridge.db"] {
        let opened = open(url, StoreOptions::new("bridge-1")).await;
        assert!(matches!(opened, Err(OpenError::UnknownScheme)), "{url}: {opened:?}");
    }
    let malformed = open("postgres://:port:", StoreOptions::new("bridge-1")).await;
    assert!(matches!(malformed, Err(OpenError::InvalidUrl { .. })), "{malformed:?}");
    let nameless = open("sqlite://", StoreOptions::new("bridge-1")).await;
    assert!(matches!(nameless, Err(OpenError::InvalidUrl { .. })), "{nameless:?}");
}

#[tokio::test]
async fn a_database_that_is_away_is_unavailable() {
    let nowhere = open("sqlite:///nowhere/at/all/bridge.db", StoreOptions::new("bridge-1")).await;
    let Err(OpenError::Unavailable { source }) = nowhere else {
        panic!("{nowhere:?}")
    };
    let reason = source.to_string();
    assert!(reason.contains("/nowhere/at/all/bridge.db"), "{reason}");
    let closed = open("postgres://bridge@127.0.0.1:1/bridge", StoreOptions::new("bridge-1")).await;
    assert!(matches!(closed, Err(OpenError::Unavailable { .. })), "{closed:?}");
}

#[tokio::test]
async fn a_database_in_memory_is_enough_for_a_test() {
    let store = open("sqlite::memory:", StoreOptions::new("bridge-1")).await.unwrap();

    assert_eq!(store.find(&id("pump-7")).await.unwrap(), None);
    assert_eq!(store.check_invariants().await.unwrap(), Vec::<String>::new());
}

async fn open(url: &str, options: StoreOptions) -> Result<Store, OpenError> {
    Store::open(url, options, Arc::new(ManualClock::new(noon()))).await
}
