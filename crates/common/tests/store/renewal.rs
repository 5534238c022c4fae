use std::time::Duration;

use common::domain::{
    AdmitError, CertificateState, Clock, DeviceDirectory, DeviceId, DeviceRegistry, DeviceState, Digest, RegistryError,
    Renewal, System, WireguardPrivateKey,
};

use super::databases::TestDatabase;
use super::fleet::{Fleet, SYSTEMS, admin, application, id, issued, random_digest};

pub(crate) async fn a_renewed_certificate_waits_beside_the_old_one_until_it_is_used<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let old = fleet.view("pump-7").await.certificate.unwrap().intent.id;
    let request = renewal();

    let first = fleet.store.renew(&id("pump-7"), &request).await.unwrap();
    let certificate = issued(fleet.clock.now());
    fleet
        .store
        .record_certificate(&first.intent, &certificate)
        .await
        .unwrap();
    let again = fleet.store.renew(&id("pump-7"), &request).await.unwrap();

    assert_eq!((again.repeated, again.issued), (true, Some(certificate)));
    assert_eq!(again.intent, first.intent);
    assert_eq!(fleet.view("pump-7").await.certificate.unwrap().intent.id, old);
    let states = states(&fleet).await;
    assert_eq!(states, [CertificateState::Active, CertificateState::Pending]);

    fleet
        .store
        .record_proof(&id("pump-7"), first.intent.id, &[System::DevicePlatform])
        .await
        .unwrap();

    let view = fleet.view("pump-7").await;
    assert_eq!(view.certificate.unwrap().intent.id, first.intent.id);
    assert_eq!(view.device.last_connected_at, Some(fleet.clock.now()));
    let states = self::states(&fleet).await;
    assert_eq!(states, [CertificateState::Superseded, CertificateState::Active]);
    let stale = fleet.store.record_proof(&id("pump-7"), old, &[]).await;
    assert!(matches!(stale, Err(RegistryError::Unknown)), "{stale:?}");
    fleet.end().await;
}

pub(crate) async fn another_request_takes_the_place_of_a_renewal_that_was_not_used<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let (device, unsigned) = (id("pump-7"), renewal());
    let lost = fleet.store.renew(&device, &unsigned).await.unwrap();
    let signed = fleet.store.renew(&device, &renewal()).await.unwrap();
    fleet
        .store
        .record_certificate(&signed.intent, &issued(fleet.clock.now()))
        .await
        .unwrap();

    fleet.store.renew(&device, &renewal()).await.unwrap();
    fleet
        .store
        .record_certificate(&lost.intent, &issued(fleet.clock.now()))
        .await
        .unwrap();

    assert_eq!(
        states(&fleet).await,
        [
            CertificateState::Active,
            CertificateState::Revoked,
            CertificateState::Superseded,
            CertificateState::Intended
        ]
    );
    let jobs = fleet.jobs().await;
    assert!(
        jobs.iter().any(|job| job.system == System::CertificateAuthority),
        "what was signed in vain is revoked: {jobs:?}"
    );
    fleet.end().await;
}

pub(crate) async fn a_device_renews_with_its_own_key_and_not_with_anothers<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    fleet.enroll("pump-8").await;
    let own = fleet.view("pump-7").await.certificate.unwrap().intent.key_digest;
    let request = Renewal {
        key_digest: own,
        ..renewal()
    };

    fleet.store.renew(&id("pump-7"), &request).await.unwrap();
    let thief = fleet.store.renew(&id("pump-8"), &request).await;

    assert!(matches!(thief, Err(AdmitError::KeyAlreadyUsed)), "{thief:?}");
    fleet.end().await;
}

pub(crate) async fn a_key_that_a_new_enrollment_took_away_does_not_come_back_by_a_renewal<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let denied = fleet.view("pump-7").await.certificate.unwrap().intent.key_digest;
    fleet.allow("pump-7").await.unwrap();
    let admission = fleet.apply("pump-7", &fleet.token(1).await, &application()).await;
    fleet.finish(&admission.unwrap()).await;
    let with_key = |key_digest| Renewal {
        key_digest,
        ..renewal()
    };

    let refused = fleet.store.renew(&id("pump-7"), &with_key(denied)).await;

    assert!(matches!(refused, Err(AdmitError::KeyReused)), "{refused:?}");
    let waiting = renewal();
    fleet.store.renew(&id("pump-7"), &waiting).await.unwrap();
    let again = fleet.store.renew(&id("pump-7"), &with_key(waiting.key_digest)).await;
    assert!(again.is_ok(), "another request for the key that waits: {again:?}");
    fleet.end().await;
}

pub(crate) async fn only_a_device_in_service_changes_anything_about_itself<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let certificate = fleet.view("pump-7").await.certificate.unwrap().intent.id;
    fleet.quarantine("pump-7").await.unwrap();

    let renewed = fleet.store.renew(&id("pump-7"), &renewal()).await;
    assert!(matches!(renewed, Err(AdmitError::Quarantined)), "{renewed:?}");
    let proof = fleet.store.record_proof(&id("pump-7"), certificate, &SYSTEMS).await;
    assert!(matches!(
        proof,
        Err(RegistryError::WrongState(DeviceState::Quarantined))
    ));
    let key = WireguardPrivateKey::generate().public_key();
    fleet.store.retire(&id("pump-7"), &admin(), &[]).await.unwrap();
    let replaced = fleet.store.replace_wireguard_key(&id("pump-7"), key).await;
    assert!(matches!(replaced, Err(AdmitError::Retired)), "{replaced:?}");
    fleet.end().await;
}

pub(crate) async fn a_device_takes_another_wireguard_key_that_nobody_ever_had<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let before = fleet.enroll("pump-7").await;
    let other = fleet.enroll("pump-8").await.wireguard_key.unwrap();
    let (device, key) = (id("pump-7"), WireguardPrivateKey::generate().public_key());
    fleet.clock.advance(Duration::from_mins(1));

    let refused = fleet.store.replace_wireguard_key(&device, key).await;
    assert!(matches!(refused, Err(AdmitError::AlreadyEnrolled)), "{refused:?}");
    fleet.allow("pump-7").await.unwrap();
    let after = fleet.store.replace_wireguard_key(&device, key).await.unwrap();
    let again = fleet.store.replace_wireguard_key(&device, key).await.unwrap();

    assert_eq!(
        (after.wireguard_key, after.address, after.epoch),
        (Some(key), before.address, before.epoch + 1)
    );
    assert_eq!(again, after);
    fleet.allow("pump-7").await.unwrap();
    for taken in [other, before.wireguard_key.unwrap()] {
        let stolen = fleet.store.replace_wireguard_key(&device, taken).await;
        assert!(matches!(stolen, Err(AdmitError::WireguardKeyInUse)), "{stolen:?}");
    }
    assert!(
        fleet
            .jobs()
            .await
            .iter()
            .any(|job| job.system == System::Vpn && job.device_id == device)
    );
    fleet.end().await;
}

async fn states<D: TestDatabase>(fleet: &Fleet<D>) -> Vec<CertificateState> {
    let id = DeviceId::parse("pump-7").unwrap();
    let certificates = fleet.store.certificates(&id).await.unwrap();
    certificates.into_iter().map(|certificate| certificate.state).collect()
}

/// A request with a key that nobody ever had.
fn renewal() -> Renewal {
    let csr_der = random_digest().0.to_vec();
    Renewal {
        csr_digest: Digest::of(&csr_der),
        csr_der,
        key_digest: random_digest(),
    }
}
