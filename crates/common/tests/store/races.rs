use std::collections::HashSet;

use common::domain::{
    Admission, AdmitError, Application, DeviceRegistry, Digest, JobQueue, RegistryError, TokenPurpose,
};
use tokio::task::JoinSet;

use super::databases::TestDatabase;
use super::fleet::{Fleet, LEASE, SYSTEMS, admin, application, id, issued};

const CROWD: usize = 200;

pub(crate) async fn two_hundred_identical_applications_are_one_admission<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let application = application();

    let answers = apply_with_one_token(&fleet, 1, |_| ("pump-7".to_owned(), application.clone())).await;

    let admissions: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(admissions.iter().filter(|admission| !admission.repeated).count(), 1);
    assert!(
        admissions
            .iter()
            .all(|admission| admission.intent == admissions[0].intent)
    );
    assert!(
        admissions
            .iter()
            .all(|admission| admission.device == admissions[0].device)
    );
    assert_eq!(fleet.used().await, 1);
    fleet.end().await;
}

pub(crate) async fn two_hundred_devices_share_ten_addresses_without_a_quarrel<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network("10.8.0.0/28").await;
    for number in 0..3 {
        fleet.admit(&format!("early-{number}")).await;
    }

    let answers = apply_with_own_tokens(&fleet, |number| (format!("pump-{number}"), application())).await;

    let (admitted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    let addresses: HashSet<_> = admitted
        .into_iter()
        .map(|answer| answer.unwrap().device.address.unwrap())
        .collect();
    assert_eq!((addresses.len(), refused.len()), (10, CROWD - 10));
    assert!(
        refused
            .iter()
            .all(|answer| matches!(answer, Err(AdmitError::AddressPoolExhausted))),
        "{refused:?}"
    );
    fleet.end().await;
}

pub(crate) async fn two_hundred_devices_with_one_wireguard_key_are_one_device<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network("10.8.0.0/16").await;
    let shared = application().wireguard_key;

    let answers = apply_with_own_tokens(&fleet, |number| {
        (
            format!("pump-{number}"),
            Application {
                wireguard_key: shared,
                ..application()
            },
        )
    })
    .await;

    let (admitted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(admitted.len(), 1);
    assert!(
        refused
            .iter()
            .all(|answer| matches!(answer, Err(AdmitError::WireguardKeyInUse))),
        "{refused:?}"
    );
    fleet.end().await;
}

pub(crate) async fn two_hundred_devices_with_one_certificate_key_are_one_device<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network("10.8.0.0/16").await;
    let shared = application().key_digest;

    let answers = apply_with_own_tokens(&fleet, |number| {
        (
            format!("pump-{number}"),
            Application {
                key_digest: shared,
                ..application()
            },
        )
    })
    .await;

    let (admitted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(admitted.len(), 1);
    assert!(
        refused
            .iter()
            .all(|answer| matches!(answer, Err(AdmitError::KeyAlreadyUsed))),
        "{refused:?}"
    );
    fleet.end().await;
}

pub(crate) async fn two_hundred_different_requests_for_one_id_have_one_winner<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;

    let answers = apply_with_own_tokens(&fleet, |_| ("pump-7".to_owned(), application())).await;

    let (admitted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(admitted.len(), 1);
    assert!(
        refused
            .iter()
            .all(|answer| matches!(answer, Err(AdmitError::AlreadyEnrolled))),
        "{refused:?}"
    );
    fleet.end().await;
}

pub(crate) async fn a_quota_holds_against_two_hundred_devices_at_once<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network("10.8.0.0/16").await;

    let answers = apply_with_one_token(&fleet, 7, |number| (format!("pump-{number}"), application())).await;

    let (admitted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(admitted.len(), 7);
    assert!(
        refused
            .iter()
            .all(|answer| matches!(answer, Err(AdmitError::TokenUsedUp))),
        "{refused:?}"
    );
    fleet.end().await;
}

pub(crate) async fn of_ten_who_decommission_a_device_at_once_one_does<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let mut tasks = JoinSet::new();
    for number in 0..20 {
        let device = fleet.enroll(&format!("pump-{number}")).await;
        for _ in 0..10 {
            let (store, device) = (fleet.store.clone(), device.clone());
            tasks.spawn(async move {
                let retired = store.retire(&device.id, &admin(), &SYSTEMS).await.unwrap();
                assert_eq!(retired.device.epoch, device.epoch + 1);
                retired.repeated
            });
        }
    }

    let repeated = tasks.join_all().await;

    assert_eq!(repeated.iter().filter(|repeated| !**repeated).count(), 20);
    fleet.end().await;
}

pub(crate) async fn each_order_goes_to_one_of_many_workers<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    for number in 0..10 {
        fleet.enroll(&format!("pump-{number}")).await;
    }
    let mut tasks = JoinSet::new();
    for worker in 0..20 {
        let (store, system) = (fleet.store.clone(), SYSTEMS[worker % 2]);
        tasks.spawn(async move { store.claim(system, 3, LEASE).await.unwrap() });
    }

    let claimed: Vec<_> = tasks.join_all().await.into_iter().flatten().map(|job| job.id).collect();

    let distinct: HashSet<_> = claimed.iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (20, 20));
    fleet.end().await;
}

pub(crate) async fn enrolling_and_decommissioning_at_once_keeps_the_invariants<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let token = fleet.token_for("pump-*", TokenPurpose::Enroll, 1000).await;
    let mut tasks = JoinSet::new();
    for number in 0..60 {
        let (store, name) = (fleet.store.clone(), format!("pump-{}", number % 20));
        let certificate = issued(super::fleet::noon());
        tasks.spawn(async move {
            if number % 3 == 2 {
                let outcome = store.retire(&id(&name), &admin(), &SYSTEMS).await;
                assert!(matches!(outcome, Ok(_) | Err(RegistryError::Unknown)), "{outcome:?}");
                return;
            }
            let Ok(admission) = store.admit(&id(&name), &token, &application()).await else {
                return;
            };
            store.record_certificate(&admission.intent, &certificate).await.unwrap();
            let outcome = store.mark_enrolled(&id(&name), &SYSTEMS).await;
            assert!(
                matches!(outcome, Ok(_) | Err(RegistryError::WrongState(_))),
                "{outcome:?}"
            );
        });
    }
    tasks.join_all().await;

    fleet.end().await;
}

/// Lets a crowd apply at the same moment, each with a token of its own, so that nothing but what the scenario is about
/// keeps them apart.
async fn apply_with_own_tokens<D: TestDatabase>(
    fleet: &Fleet<D>,
    applicant: impl Fn(usize) -> (String, Application),
) -> Vec<Result<Admission, AdmitError>> {
    let mut tokens = Vec::new();
    for _ in 0..CROWD {
        tokens.push(fleet.token(1).await);
    }
    apply(fleet, &tokens, applicant).await
}

/// Lets a crowd apply with one token at the same moment.
async fn apply_with_one_token<D: TestDatabase>(
    fleet: &Fleet<D>,
    quota: u32,
    applicant: impl Fn(usize) -> (String, Application),
) -> Vec<Result<Admission, AdmitError>> {
    let token = fleet.token(quota).await;
    apply(fleet, &[token; CROWD], applicant).await
}

async fn apply<D: TestDatabase>(
    fleet: &Fleet<D>,
    tokens: &[Digest],
    applicant: impl Fn(usize) -> (String, Application),
) -> Vec<Result<Admission, AdmitError>> {
    let mut tasks = JoinSet::new();
    for (number, token) in tokens.iter().copied().enumerate() {
        let (store, (name, application)) = (fleet.store.clone(), applicant(number));
        tasks.spawn(async move { store.admit(&id(&name), &token, &application).await });
    }
    tasks.join_all().await
}
