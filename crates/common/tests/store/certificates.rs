use common::domain::{
    CertificateState, Clock, DeviceDirectory, DeviceRegistry, DeviceState, JobAction, RegistryError, ServiceEntry,
    System,
};
use tokio::task::JoinSet;

use super::databases::TestDatabase;
use super::fleet::{Fleet, SYSTEMS, admin, application, id, issued};

pub(crate) async fn the_first_certificate_of_an_intent_stays<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let admission = fleet.admit("pump-7").await;
    let (first, second) = (issued(fleet.clock.now()), issued(fleet.clock.now()));

    assert_eq!(
        fleet.store.record_certificate(&admission.intent, &first).await.unwrap(),
        first
    );
    assert_eq!(
        fleet
            .store
            .record_certificate(&admission.intent, &second)
            .await
            .unwrap(),
        first
    );

    let shown = fleet.view("pump-7").await.certificate.unwrap();
    assert_eq!(
        (shown.state, shown.issued, shown.intent),
        (CertificateState::Active, Some(first), admission.intent)
    );
    assert_eq!(
        fleet.actions().await,
        ["token.created", "device.admitted", "certificate.issued"]
    );
    fleet.end().await;
}

pub(crate) async fn a_certificate_for_a_device_that_was_decommissioned_meanwhile_is_kept_as_revoked<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let admission = fleet.admit("pump-7").await;
    fleet.store.retire(&id("pump-7"), &admin(), &[]).await.unwrap();
    let late = issued(fleet.clock.now());

    fleet.store.record_certificate(&admission.intent, &late).await.unwrap();

    let again = fleet.store.retire(&id("pump-7"), &admin(), &[]).await.unwrap();
    assert_eq!(again.certificates[0].state, CertificateState::Revoked);
    assert_eq!(again.certificates[0].issued.as_ref(), Some(&late));
    let jobs = fleet.jobs().await;
    assert_eq!(
        (jobs[0].system, jobs[0].action),
        (System::CertificateAuthority, JobAction::Remove)
    );
    let service = fleet.mark_enrolled("pump-7").await;
    assert!(matches!(service, Err(RegistryError::WrongState(_))), "{service:?}");
    assert_eq!(fleet.store.vpn_members().await.unwrap(), []);
    fleet.end().await;
}

pub(crate) async fn a_certificate_for_an_intent_that_was_replaced_meanwhile_is_kept_as_revoked<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let slow = fleet.admit("pump-7").await;
    fleet.allow("pump-7").await.unwrap();
    let token = fleet.token(1).await;
    let quick = fleet.apply("pump-7", &token, &application()).await.unwrap();
    let current = issued(fleet.clock.now());
    fleet.store.record_certificate(&quick.intent, &current).await.unwrap();

    fleet
        .store
        .record_certificate(&slow.intent, &issued(fleet.clock.now()))
        .await
        .unwrap();

    let shown = fleet.view("pump-7").await.certificate.unwrap();
    assert_eq!((shown.state, shown.issued), (CertificateState::Active, Some(current)));
    fleet.mark_enrolled("pump-7").await.unwrap();
    fleet.end().await;
}

pub(crate) async fn a_serial_number_that_is_there_twice_is_one_certificates<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let certificate = issued(fleet.clock.now());
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let admission = fleet.admit(&format!("pump-{number}")).await;
        let (store, now) = (fleet.store.clone(), fleet.clock.now());
        let twice = certificate.clone();
        let certificate = if number < 2 { twice } else { issued(now) };
        tasks.spawn(async move {
            let recorded = store.enter_service(&admission, &certificate, &[]).await;
            (number, recorded.is_ok())
        });
    }

    let (twice, once): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(|it| it.0 < 2);

    // Whoever shared a transaction with the wrong one has lost nothing by it.
    assert!(once.iter().all(|(_, is_recorded)| *is_recorded), "{once:?}");
    assert_eq!(twice.iter().filter(|(_, is_recorded)| *is_recorded).count(), 1);
    fleet.end().await;
}

pub(crate) async fn with_its_certificate_a_device_enters_service_in_one_step<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let admission = fleet.admit("pump-7").await;
    let (first, second) = (issued(fleet.clock.now()), issued(fleet.clock.now()));

    for (certificate, is_as_admitted) in [(&first, true), (&second, false)] {
        let entry = fleet.store.enter_service(&admission, certificate, &SYSTEMS).await;
        let expected = ServiceEntry {
            certificate: first.clone(),
            is_as_admitted,
        };
        assert_eq!(entry.unwrap(), expected);
    }

    let shown = fleet.view("pump-7").await;
    assert_eq!(shown.device.state, DeviceState::Enrolled);
    assert_eq!(shown.device.enrolled_at, Some(fleet.clock.now()));
    assert_eq!(shown.certificate.unwrap().issued, Some(first));
    assert_eq!(fleet.jobs().await.len(), SYSTEMS.len());
    assert_eq!(
        fleet.actions().await,
        [
            "token.created",
            "device.admitted",
            "certificate.issued",
            "device.enrolled"
        ]
    );
    fleet.end().await;
}

pub(crate) async fn who_was_shut_out_meanwhile_gets_a_certificate_and_does_not_enter_service<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (shut_out, welcome) = (fleet.admit("pump-7").await, fleet.admit("pump-8").await);
    let released = fleet.admit("pump-9").await;
    fleet.quarantine("pump-7").await.unwrap();
    fleet.quarantine("pump-9").await.unwrap();
    fleet.release("pump-9").await.unwrap();

    let entries = [&shut_out, &welcome, &released].map(|admission| {
        let (store, admission) = (fleet.store.clone(), admission.clone());
        let certificate = issued(fleet.clock.now());
        async move {
            let entry = store.enter_service(&admission, &certificate, &SYSTEMS).await.unwrap();
            (admission.device.id, entry.is_as_admitted)
        }
    });
    for (device, is_as_admitted) in JoinSet::from_iter(entries).join_all().await {
        assert!(!is_as_admitted || device.as_str() == "pump-8", "{device}");
    }

    let state = async |name| fleet.find(name).await.unwrap().state;
    assert_eq!(state("pump-7").await, DeviceState::Quarantined);
    assert_eq!(state("pump-8").await, DeviceState::Enrolled);
    assert_eq!(state("pump-9").await, DeviceState::Enrolled);
    assert_eq!(
        fleet.view("pump-7").await.certificate.unwrap().state,
        CertificateState::Active
    );
    fleet.end().await;
}
