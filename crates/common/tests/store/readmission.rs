use std::time::Duration;

use common::domain::{
    AdmitError, CertificateState, Clock, DeviceRegistry, DeviceState, JobAction, LiveFacts, System, TokenPurpose,
    WireguardKey, WireguardPrivateKey,
};

use super::databases::TestDatabase;
use super::fleet::{Fleet, admin, application, id};

pub(crate) async fn a_pair_of_ours_is_replaced_until_the_first_handshake<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, mut application) = (fleet.token(1).await, application());
    application.wireguard_key_is_ours = true;
    let first = fleet.apply("pump-7", &token, &application).await.unwrap();
    let first_key = application.wireguard_key;

    application.wireguard_key = WireguardPrivateKey::generate().public_key();
    let second = fleet.apply("pump-7", &token, &application).await.unwrap();
    assert_eq!((second.repeated, second.intent), (true, first.intent.clone()));
    assert_eq!(second.device.wireguard_key, Some(application.wireguard_key));
    assert_ne!(second.device.wireguard_key, Some(first_key));

    fleet.finish(&first).await;
    let facts = handshake(application.wireguard_key, &fleet);
    fleet.store.record_live(&[facts]).await.unwrap();
    application.wireguard_key = WireguardPrivateKey::generate().public_key();
    let third = fleet.apply("pump-7", &token, &application).await;
    assert!(matches!(third, Err(AdmitError::AlreadyEnrolled)), "{third:?}");
    fleet.end().await;
}

pub(crate) async fn what_was_seen_of_a_pair_of_ours_says_nothing_of_the_one_in_its_place<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, mut application) = (fleet.token(1).await, application());
    application.wireguard_key_is_ours = true;
    let first = fleet.apply("pump-7", &token, &application).await.unwrap();
    fleet.finish(&first).await;
    let seen = handshake(application.wireguard_key, &fleet);
    application.wireguard_key = WireguardPrivateKey::generate().public_key();
    fleet.apply("pump-7", &token, &application).await.unwrap();

    // The hub was looked at before, and is written down after.
    fleet.store.record_live(&[seen]).await.unwrap();

    assert_eq!(fleet.view("pump-7").await.live, None);
    application.wireguard_key = WireguardPrivateKey::generate().public_key();
    let third = fleet.apply("pump-7", &token, &application).await;
    assert!(third.is_ok(), "{third:?}");
    fleet.end().await;
}

pub(crate) async fn a_device_that_brings_its_key_cannot_swap_it_by_repeating<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, mut application) = (fleet.token(1).await, application());
    fleet.apply("pump-7", &token, &application).await.unwrap();

    application.wireguard_key = WireguardPrivateKey::generate().public_key();
    let swapped = fleet.apply("pump-7", &token, &application).await;

    assert!(matches!(swapped, Err(AdmitError::Conflict)), "{swapped:?}");
    fleet.end().await;
}

pub(crate) async fn a_device_that_brought_its_own_key_cannot_have_it_replaced_by_leaving_it_out<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, own) = (fleet.token(1).await, application());
    let before = fleet.apply("pump-7", &token, &own).await.unwrap().device;
    let mut left_out = own.clone();
    left_out.wireguard_key = WireguardPrivateKey::generate().public_key();
    left_out.wireguard_key_is_ours = true;

    let replaced = fleet.apply("pump-7", &token, &left_out).await;

    assert!(matches!(replaced, Err(AdmitError::AlreadyEnrolled)), "{replaced:?}");
    let repetition = fleet.apply("pump-7", &token, &own).await.unwrap();
    assert_eq!((repetition.repeated, repetition.device), (true, before));
    fleet.end().await;
}

pub(crate) async fn what_a_device_once_used_stays_used_when_the_hub_forgets_it<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, mut application) = (fleet.token(1).await, application());
    application.wireguard_key_is_ours = true;
    let admission = fleet.apply("pump-7", &token, &application).await.unwrap();
    fleet.finish(&admission).await;
    let seen = handshake(application.wireguard_key, &fleet);
    application.wireguard_key = WireguardPrivateKey::generate().public_key();
    fleet.store.record_live(std::slice::from_ref(&seen)).await.unwrap();

    let unseen = LiveFacts {
        last_handshake_at: None,
        ..seen
    };
    fleet.store.record_live(&[unseen]).await.unwrap();
    let restarted = fleet.apply("pump-7", &token, &application).await;
    assert!(matches!(restarted, Err(AdmitError::AlreadyEnrolled)), "{restarted:?}");

    fleet.quarantine("pump-7").await.unwrap();
    fleet.release("pump-7").await.unwrap();
    let released = fleet.apply("pump-7", &token, &application).await;
    assert!(matches!(released, Err(AdmitError::AlreadyEnrolled)), "{released:?}");
    fleet.end().await;
}

pub(crate) async fn an_allowed_device_starts_over_with_new_keys<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let before = fleet.enroll("pump-7").await;
    fleet.allow("pump-7").await.unwrap();
    let (token, application) = (fleet.token(1).await, application());

    let admission = fleet.apply("pump-7", &token, &application).await.unwrap();

    let device = &admission.device;
    assert_eq!((device.state, device.epoch), (DeviceState::Admitted, before.epoch + 1));
    assert_eq!(
        (device.address, device.wireguard_key),
        (before.address, Some(application.wireguard_key))
    );
    let retired_keys = fleet
        .store
        .retire(&id("pump-7"), &admin(), &[])
        .await
        .unwrap()
        .certificates;
    assert!(
        retired_keys
            .iter()
            .all(|certificate| certificate.state == CertificateState::Revoked)
    );
    assert_eq!(retired_keys.len(), 2);
    let jobs = fleet.jobs().await;
    for system in [System::CertificateAuthority, System::Vpn] {
        assert!(
            jobs.iter()
                .any(|job| job.system == system && job.action == JobAction::Ensure),
            "{system:?}"
        );
    }
    fleet.end().await;
}

pub(crate) async fn an_allowance_is_used_once_and_ends_with_its_time<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("pump-7").await;
    let token = fleet.token(9).await;
    fleet.allow("pump-7").await.unwrap();
    let admission = fleet.apply("pump-7", &token, &application()).await.unwrap();
    fleet.finish(&admission).await;

    let again = fleet.apply("pump-7", &token, &application()).await;
    assert!(matches!(again, Err(AdmitError::AlreadyEnrolled)), "{again:?}");

    fleet.allow("pump-7").await.unwrap();
    fleet.clock.advance(Duration::from_mins(10));
    let late = fleet.apply("pump-7", &token, &application()).await;
    assert!(matches!(late, Err(AdmitError::AlreadyEnrolled)), "{late:?}");
    fleet.end().await;
}

pub(crate) async fn a_device_that_starts_over_brings_new_keys<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, old) = (fleet.token(9).await, application());
    let admission = fleet.apply("pump-7", &token, &old).await.unwrap();
    fleet.finish(&admission).await;
    fleet.allow("pump-7").await.unwrap();

    let mut old_key = application();
    old_key.key_digest = old.key_digest;
    let refused = fleet.apply("pump-7", &token, &old_key).await;
    assert!(matches!(refused, Err(AdmitError::KeyReused)), "{refused:?}");

    let mut old_peer = application();
    old_peer.wireguard_key = old.wireguard_key;
    let refused = fleet.apply("pump-7", &token, &old_peer).await;
    assert!(matches!(refused, Err(AdmitError::WireguardKeyInUse)), "{refused:?}");
    fleet.end().await;
}

pub(crate) async fn a_return_ticket_lets_a_known_device_keep_its_keys<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, application) = (fleet.token(1).await, application());
    let admission = fleet.apply("pump-7", &token, &application).await.unwrap();
    let before = fleet.finish(&admission).await;
    fleet.clock.advance(Duration::from_hours(24 * 30));
    let ticket = fleet.token_for("pump-*", TokenPurpose::Return, 1).await;

    let stranger = fleet.apply("pump-8", &ticket, &self::application()).await;
    assert!(matches!(stranger, Err(AdmitError::DeviceMismatch)), "{stranger:?}");

    let back = fleet.apply("pump-7", &ticket, &application).await.unwrap();
    assert_ne!(back.intent.id, admission.intent.id);
    assert_eq!(
        (back.device.address, back.device.wireguard_key),
        (before.address, before.wireguard_key)
    );
    fleet.finish(&back).await;
    fleet.end().await;
}

/// What the hub sees of `pump-7` after its handshake.
fn handshake<D: TestDatabase>(key: WireguardKey, fleet: &Fleet<D>) -> LiveFacts {
    LiveFacts {
        device_id: id("pump-7"),
        key,
        last_handshake_at: Some(fleet.clock.now()),
        endpoint: None,
        received_bytes: 0,
        sent_bytes: 0,
    }
}
