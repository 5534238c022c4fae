use std::time::Duration;

use common::domain::{
    AdmitError, Clock, DeviceRegistry, DeviceState, EnrollmentTokens, GroupName, IdPattern, JobQueue,
    NewEnrollmentToken, TokenPurpose,
};
use common::store::{Store, StoreOptions};

use super::databases::TestDatabase;
use super::fleet::{Fleet, SYSTEMS, admin, application, id, issued, network, random_digest};

pub(crate) async fn a_device_is_admitted_with_an_address_and_an_intent<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let token = NewEnrollmentToken {
        secret_hash: random_digest(),
        purpose: TokenPurpose::Enroll,
        id_pattern: IdPattern::parse("pump-*").unwrap(),
        group: GroupName::parse("north").unwrap(),
        quota: 3,
        expires_at: fleet.clock.now() + Duration::from_hours(1),
    };
    fleet.store.create_token(&token, &admin()).await.unwrap();
    let mut application = application();
    application.device_type = Some("pump".to_owned());
    application.display_name = Some("Pump in hall 7".to_owned());

    let admission = fleet.apply("pump-7", &token.secret_hash, &application).await.unwrap();

    let device = &admission.device;
    assert_eq!((device.state, device.epoch), (DeviceState::Admitted, 1));
    assert_eq!(device.group.as_str(), "north");
    assert_eq!(device.device_type.as_deref(), Some("pump"));
    assert_eq!(device.display_name.as_deref(), Some("Pump in hall 7"));
    assert_eq!(device.address, Some("10.8.0.2".parse().unwrap()));
    assert_eq!(device.wireguard_key, Some(application.wireguard_key));
    assert_eq!(device.created_at, fleet.clock.now());
    assert_eq!(admission.intent.csr_der, application.csr_der);
    assert_eq!(admission.intent.key_digest, application.key_digest);
    assert_eq!((admission.issued, admission.repeated), (None, false));
    fleet.end().await;
}

pub(crate) async fn the_same_application_again_gets_the_same_answer_and_is_not_counted<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, application) = (fleet.token(1).await, application());
    let first = fleet.apply("pump-7", &token, &application).await.unwrap();

    let again = fleet.apply("pump-7", &token, &application).await.unwrap();
    assert_eq!(
        (&again.intent, &again.issued, again.repeated),
        (&first.intent, &None, true)
    );

    let certificate = issued(fleet.clock.now());
    fleet
        .store
        .record_certificate(&first.intent, &certificate)
        .await
        .unwrap();
    fleet.store.mark_enrolled(&first.device.id, &SYSTEMS).await.unwrap();
    let answered = fleet.apply("pump-7", &token, &application).await.unwrap();
    assert_eq!(
        (answered.issued, answered.device.address),
        (Some(certificate), first.device.address)
    );

    assert_eq!(fleet.used().await, 1);
    fleet.end().await;
}

pub(crate) async fn a_token_that_is_unknown_expired_or_revoked_admits_nobody<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let unknown = fleet.apply("pump-7", &random_digest(), &application()).await;
    assert!(matches!(unknown, Err(AdmitError::InvalidToken)), "{unknown:?}");
    assert_eq!(fleet.last_detail().await["reason"], "unknown_token");

    let token = fleet.token(1).await;
    let token_id = fleet.store.tokens().await.unwrap()[0].id;
    fleet.store.revoke_token(token_id, &admin()).await.unwrap();
    let revoked = fleet.apply("pump-7", &token, &application()).await;
    assert!(matches!(revoked, Err(AdmitError::InvalidToken)), "{revoked:?}");
    assert_eq!(fleet.last_detail().await["reason"], "token_revoked");

    let token = fleet.token(1).await;
    fleet.clock.advance(Duration::from_hours(1));
    let expired = fleet.apply("pump-7", &token, &application()).await;
    assert!(matches!(expired, Err(AdmitError::InvalidToken)), "{expired:?}");
    assert_eq!(fleet.last_detail().await["reason"], "token_expired");
    fleet.end().await;
}

pub(crate) async fn a_token_admits_only_the_ids_of_its_pattern<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let token = fleet.token_for("pump-*", TokenPurpose::Enroll, 2).await;

    let other = fleet.apply("valve-7", &token, &application()).await;

    assert!(matches!(other, Err(AdmitError::DeviceMismatch)), "{other:?}");
    fleet.apply("pump-7", &token, &application()).await.unwrap();
    fleet.end().await;
}

pub(crate) async fn a_token_that_is_used_up_admits_nobody_new<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let token = fleet.token(1).await;
    fleet.apply("pump-1", &token, &application()).await.unwrap();

    let second = fleet.apply("pump-2", &token, &application()).await;

    assert!(matches!(second, Err(AdmitError::TokenUsedUp)), "{second:?}");
    assert_eq!(fleet.find("pump-2").await, None);
    fleet.end().await;
}

pub(crate) async fn every_refusal_is_counted_and_recorded<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let token = fleet.token_for("pump-*", TokenPurpose::Enroll, 1).await;
    fleet.apply("valve-1", &token, &application()).await.unwrap_err();
    fleet.apply("pump-1", &token, &application()).await.unwrap();
    fleet.apply("pump-2", &token, &application()).await.unwrap_err();

    let counted = &fleet.store.tokens().await.unwrap()[0];
    assert_eq!((counted.used, counted.refused), (1, 2));
    assert_eq!(
        fleet.actions().await,
        [
            "token.created",
            "enrollment.refused",
            "device.admitted",
            "enrollment.refused"
        ]
    );
    fleet.end().await;
}

pub(crate) async fn another_request_is_a_conflict_while_the_first_is_in_progress<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let token = fleet.token(5).await;
    let first = fleet.apply("pump-7", &token, &application()).await.unwrap();

    let other = fleet.apply("pump-7", &token, &application()).await;
    assert!(matches!(other, Err(AdmitError::Conflict)), "{other:?}");

    fleet.finish(&first).await;
    let late = fleet.apply("pump-7", &token, &application()).await;
    assert!(matches!(late, Err(AdmitError::AlreadyEnrolled)), "{late:?}");
    fleet.end().await;
}

pub(crate) async fn a_known_device_with_another_key_is_refused<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let before = fleet.enroll("pump-7").await;
    let stolen = fleet.token(1).await;

    let takeover = fleet.apply("pump-7", &stolen, &application()).await;

    assert!(matches!(takeover, Err(AdmitError::AlreadyEnrolled)), "{takeover:?}");
    assert_eq!(fleet.find("pump-7").await, Some(before));
    assert_eq!(fleet.used().await, 0);
    fleet.end().await;
}

pub(crate) async fn a_certificate_key_belongs_to_one_device_for_all_time<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, first) = (fleet.token(9).await, application());
    fleet.apply("pump-1", &token, &first).await.unwrap();
    fleet.retire("pump-1").await.unwrap();

    let mut second = application();
    second.key_digest = first.key_digest;
    let reused = fleet.apply("pump-2", &token, &second).await;

    assert!(matches!(reused, Err(AdmitError::KeyAlreadyUsed)), "{reused:?}");
    fleet.end().await;
}

pub(crate) async fn a_wireguard_key_belongs_to_one_device_for_all_time<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, first) = (fleet.token(9).await, application());
    fleet.apply("pump-1", &token, &first).await.unwrap();
    let mut second = application();
    second.wireguard_key = first.wireguard_key;

    let stolen = fleet.apply("pump-2", &token, &second).await;
    assert!(matches!(stolen, Err(AdmitError::WireguardKeyInUse)), "{stolen:?}");

    fleet.retire("pump-1").await.unwrap();
    let inherited = fleet.apply("pump-2", &token, &second).await;
    assert!(matches!(inherited, Err(AdmitError::WireguardKeyInUse)), "{inherited:?}");
    fleet.end().await;
}

pub(crate) async fn a_refused_application_leaves_nothing_behind<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (token, first) = (fleet.token(9).await, application());
    fleet.apply("pump-1", &token, &first).await.unwrap();
    let mut second = application();
    let own_key = second.wireguard_key;
    second.wireguard_key = first.wireguard_key;
    fleet.apply("pump-2", &token, &second).await.unwrap_err();

    assert_eq!(fleet.find("pump-2").await, None);
    second.wireguard_key = own_key;
    let admission = fleet.apply("pump-2", &token, &second).await.unwrap();
    assert_eq!(admission.device.address, Some("10.8.0.3".parse().unwrap()));
    assert_eq!(fleet.used().await, 2);
    fleet.end().await;
}

pub(crate) async fn an_exhausted_pool_is_a_refusal_of_its_own<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network("10.8.0.0/30").await;
    let token = fleet.token(9).await;
    fleet.apply("pump-1", &token, &application()).await.unwrap();

    let second = fleet.apply("pump-2", &token, &application()).await;

    assert!(matches!(second, Err(AdmitError::AddressPoolExhausted)), "{second:?}");
    fleet.end().await;
}

pub(crate) async fn two_networks_are_used_one_after_the_other<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network("10.8.0.0/30").await;
    fleet.store.ensure_pool(&network("10.9.0.0/24")).await.unwrap();
    fleet.store.ensure_pool(&network("10.9.0.0/24")).await.unwrap();

    assert_eq!(
        fleet.admit("pump-1").await.device.address,
        Some("10.8.0.2".parse().unwrap())
    );
    assert_eq!(
        fleet.admit("pump-2").await.device.address,
        Some("10.9.0.2".parse().unwrap())
    );

    assert!(
        fleet.store.ensure_pool(&network("10.9.0.0/25")).await.is_err(),
        "the network would lose addresses"
    );
    fleet.end().await;
}

pub(crate) async fn a_network_that_is_widened_goes_on_where_it_was<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network("10.8.0.0/30").await;
    let first = fleet.admit("pump-1").await.device;
    assert_eq!(first.address, Some("10.8.0.2".parse().unwrap()));

    fleet.store.ensure_pool(&network("10.8.0.0/16")).await.unwrap();
    fleet.store.ensure_pool(&network("10.8.0.0/16")).await.unwrap();

    let second = fleet.admit("pump-2").await.device;
    assert_eq!(second.address, Some("10.8.0.3".parse().unwrap()));
    assert_eq!(fleet.find("pump-1").await, Some(first));
    fleet.end().await;
}

pub(crate) async fn a_network_that_is_no_longer_configured_gives_out_nothing<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    fleet.enroll("old").await;
    fleet.retire("old").await.unwrap();
    let removal = fleet.claim_vpn().await.unwrap();
    fleet.store.complete(&[removal]).await.unwrap();
    fleet.clock.advance(Duration::from_hours(24));
    let (database, clock) = (fleet.database, fleet.clock);
    fleet.store.close().await;
    drop(fleet.store);

    let store = Store::open(database.url(), StoreOptions::new("bridge-1"), clock.clone())
        .await
        .unwrap();
    store.ensure_pool(&network("10.9.0.0/24")).await.unwrap();
    let fleet = Fleet { database, store, clock };

    assert_eq!(
        fleet.admit("new").await.device.address,
        Some("10.9.0.2".parse().unwrap())
    );
    fleet.end().await;
}

pub(crate) async fn the_hub_address_is_never_given_out<D: TestDatabase>() {
    let fleet = Fleet::<D>::with_network("10.8.0.0/29").await;
    let moved = common::domain::VpnNetwork::new("10.8.0.0/29".parse().unwrap(), Some("10.8.0.3".parse().unwrap()));
    fleet.store.ensure_pool(&moved.unwrap()).await.unwrap();
    let token = fleet.token(9).await;

    let mut addresses = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        addresses.push(
            fleet
                .apply(name, &token, &application())
                .await
                .unwrap()
                .device
                .address
                .unwrap()
                .octets()[3],
        );
    }

    assert_eq!(addresses, [1, 2, 4, 5, 6]);
    assert!(fleet.apply("f", &token, &application()).await.is_err());
    fleet.end().await;
}

pub(crate) async fn a_token_is_checked_without_being_spent_and_a_no_is_counted<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let token = fleet.token_for("pump-*", TokenPurpose::Enroll, 1).await;

    fleet.store.check_token(&token, Some(&id("pump-7"))).await.unwrap();
    fleet.store.check_token(&token, None).await.unwrap();
    let other = fleet.store.check_token(&token, Some(&id("valve-7"))).await;
    let unknown = fleet.store.check_token(&random_digest(), None).await;
    assert!(matches!(other, Err(AdmitError::DeviceMismatch)), "{other:?}");
    assert!(matches!(unknown, Err(AdmitError::InvalidToken)), "{unknown:?}");
    let refused = async || fleet.store.tokens().await.unwrap().remove(0).refused;
    assert_eq!(refused().await, 0);

    for (secret, reason) in [(&token, "token_expired"), (&random_digest(), "unknown_token")] {
        let error = AdmitError::InvalidToken;
        fleet.store.record_refused_token(secret, None, &error).await.unwrap();
        assert_eq!(fleet.last_detail().await["reason"], reason);
    }
    for device in [Some(id("pump-7")), None] {
        let reason = "cn-mismatch";
        fleet
            .store
            .record_refusal(device.as_ref(), &token, reason)
            .await
            .unwrap();
        assert_eq!(fleet.last_detail().await["reason"], reason);
    }
    assert_eq!(refused().await, 3);
    fleet.end().await;
}
