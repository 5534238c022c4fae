use std::time::Duration;

use common::domain::{
    CertificateState, Clock, DeviceChanges, DeviceRegistry, DeviceState, GroupName, JobAction, JobQueue, LiveFacts,
    RegistryError, SessionEnding, SessionLedger, System,
};

use super::databases::TestDatabase;
use super::fleet::{Fleet, SYSTEMS, admin, application, id, session_on};

pub(crate) async fn a_device_without_a_certificate_is_not_put_into_service<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.admit("pump-7").await;

    let early = fleet.mark_enrolled("pump-7").await;
    assert!(
        matches!(early, Err(RegistryError::WrongState(DeviceState::Admitted))),
        "{early:?}"
    );

    let nobody = fleet.mark_enrolled("nobody").await;
    assert!(matches!(nobody, Err(RegistryError::Unknown)), "{nobody:?}");
    fleet.end().await;
}

pub(crate) async fn putting_a_device_into_service_again_changes_nothing<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let device = fleet.enroll("pump-7").await;
    assert_eq!(
        (device.state, device.enrolled_at),
        (DeviceState::Enrolled, Some(fleet.clock.now()))
    );
    let jobs = fleet.jobs().await;
    assert_eq!(jobs.len(), SYSTEMS.len());

    fleet.clock.advance(Duration::from_mins(1));
    assert_eq!(fleet.mark_enrolled("pump-7").await.unwrap(), device);

    assert_eq!(fleet.jobs().await, jobs);
    fleet.end().await;
}

pub(crate) async fn a_decommissioned_device_loses_everything_but_its_name_and_keys<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let before = fleet.enroll("pump-7").await;
    let facts = LiveFacts {
        device_id: id("pump-7"),
        key: before.wireguard_key.unwrap(),
        last_handshake_at: Some(fleet.clock.now()),
        endpoint: Some("192.0.2.7:51820".to_owned()),
        received_bytes: 1,
        sent_bytes: 2,
    };
    fleet.store.record_live(&[facts]).await.unwrap();

    let retired = fleet.retire("pump-7").await.unwrap();

    let device = &retired.device;
    assert_eq!(
        (device.state, device.retired_at),
        (DeviceState::Retired, Some(fleet.clock.now()))
    );
    assert_eq!((device.epoch, device.address), (before.epoch + 1, None));
    assert_eq!(
        device.wireguard_key, before.wireguard_key,
        "the hub has to know whom to remove"
    );
    assert_eq!((retired.certificates.len(), retired.repeated), (1, false));
    assert_eq!(retired.certificates[0].state, CertificateState::Revoked);
    let view = fleet.view("pump-7").await;
    assert_eq!(
        (view.live, view.certificate.unwrap().state),
        (None, CertificateState::Revoked)
    );
    let jobs = fleet.jobs().await;
    assert!(
        jobs.iter()
            .all(|job| job.action == JobAction::Remove && job.generation == 2),
        "{jobs:?}"
    );

    let again = fleet.retire("pump-7").await.unwrap();
    assert_eq!(
        (&again.device, again.certificates, again.repeated),
        (device, retired.certificates, true)
    );
    assert_eq!(fleet.jobs().await, jobs);
    let nobody = fleet.retire("nobody").await;
    assert!(matches!(nobody, Err(RegistryError::Unknown)), "{nobody:?}");
    fleet.end().await;
}

pub(crate) async fn an_address_is_given_out_again_only_when_nothing_can_reach_it<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network("10.8.0.0/30").await;
    let old = fleet.enroll("old").await;
    let session = session_on(&old);
    fleet.store.open_session(&session).await.unwrap();
    fleet.retire("old").await.unwrap();
    let attempt = async |fleet: &Fleet<D>| {
        let token = fleet.token(1).await;
        fleet.apply("new", &token, &application()).await
    };

    fleet.clock.advance(Duration::from_hours(23));
    assert!(attempt(&fleet).await.is_err(), "its quarantine is not over");
    fleet.clock.advance(Duration::from_hours(1));
    assert!(
        attempt(&fleet).await.is_err(),
        "the hub has not forgotten the peer, a session is open"
    );
    let removal = fleet.claim_vpn().await.unwrap();
    fleet.store.complete(&[removal]).await.unwrap();
    assert!(attempt(&fleet).await.is_err(), "a session is open");
    let ending = SessionEnding {
        reason: "device_retired",
        output_bytes: 0,
        input_bytes: 0,
        recording: None,
    };
    fleet.store.close_session(&session, &ending).await.unwrap();

    assert_eq!(attempt(&fleet).await.unwrap().device.address, old.address);
    fleet.end().await;
}

pub(crate) async fn a_device_in_quarantine_comes_back_where_it_was<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let before = fleet.enroll("pump-7").await;

    let quarantined = fleet.quarantine("pump-7").await.unwrap();
    assert_eq!(
        (quarantined.state, quarantined.epoch),
        (DeviceState::Quarantined, before.epoch + 1)
    );
    assert_eq!(
        (quarantined.address, quarantined.wireguard_key),
        (before.address, before.wireguard_key)
    );
    assert_eq!(fleet.quarantine("pump-7").await.unwrap(), quarantined);
    assert!(fleet.jobs().await.iter().all(|job| job.action == JobAction::Remove));

    let released = fleet.release("pump-7").await.unwrap();
    assert_eq!(
        (released.state, released.epoch),
        (DeviceState::Enrolled, quarantined.epoch)
    );
    assert_eq!(fleet.release("pump-7").await.unwrap(), released);
    assert!(fleet.jobs().await.iter().all(|job| job.action == JobAction::Ensure));

    fleet.admit("pump-8").await;
    fleet.quarantine("pump-8").await.unwrap();
    let released = fleet.release("pump-8").await.unwrap();
    assert_eq!(released.state, DeviceState::Admitted);
    fleet.end().await;
}

pub(crate) async fn a_device_out_of_service_is_not_changed<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, application) = (fleet.token(1).await, application());
    let admission = fleet.apply("pump-7", &token, &application).await.unwrap();
    fleet.finish(&admission).await;

    fleet.quarantine("pump-7").await.unwrap();
    let allowed = fleet.allow("pump-7").await;
    assert!(
        matches!(allowed, Err(RegistryError::WrongState(DeviceState::Quarantined))),
        "{allowed:?}"
    );
    let repeated = fleet.apply("pump-7", &token, &application).await.unwrap_err();
    assert_eq!(repeated.to_string(), "the device is in quarantine");

    fleet.retire("pump-7").await.unwrap();
    for refused in [
        fleet.mark_enrolled("pump-7").await,
        fleet.quarantine("pump-7").await,
        fleet.release("pump-7").await,
    ] {
        assert!(
            matches!(refused, Err(RegistryError::WrongState(DeviceState::Retired))),
            "{refused:?}"
        );
    }
    let repeated = fleet.apply("pump-7", &token, &application).await.unwrap_err();
    assert_eq!(repeated.to_string(), "the device was decommissioned");
    fleet.end().await;
}

pub(crate) async fn a_device_is_moved_to_another_group_and_named<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let changes = DeviceChanges {
        group: Some(GroupName::parse("north").unwrap()),
        display_name: Some("The pump in the cellar".to_owned()),
        device_type: None,
        told: vec![System::DevicePlatform],
    };

    let moved = fleet.store.describe(&id("pump-7"), &admin(), &changes).await.unwrap();
    let again = fleet.store.describe(&id("pump-7"), &admin(), &changes).await.unwrap();
    let nobody = fleet.store.describe(&id("nobody"), &admin(), &changes).await;

    assert_eq!(moved.group.as_str(), "north");
    assert_eq!(moved.display_name.as_deref(), Some("The pump in the cellar"));
    assert_eq!(moved, again);
    assert!(matches!(nobody, Err(RegistryError::Unknown)), "{nobody:?}");
    let told = fleet
        .jobs()
        .await
        .into_iter()
        .any(|job| job.system == System::DevicePlatform);
    assert!(told, "what shows the device is told");
    fleet.end().await;
}
