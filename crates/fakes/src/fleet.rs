//! Devices that were enrolled without a certificate authority or a hub, for tests of what comes after.

use std::time::Duration;

use common::domain::{
    Actor, Application, Clock, DeviceId, DeviceRegistry, Digest, EnrollmentTokens, GroupName, IdPattern,
    IssuedCertificate, NewEnrollmentToken, TokenPurpose, WireguardKey, WireguardPrivateKey,
};
use common::store::Store;

/// Puts a device of the fleet `default` into service; the first one gets the network's first address.
pub async fn enroll(store: &Store, clock: &dyn Clock, name: &str) {
    let key = WireguardPrivateKey::generate().public_key();
    enroll_with_key(store, clock, name, key).await;
}

/// The same, with a WireGuard key that the test knows.
pub async fn enroll_with_key(store: &Store, clock: &dyn Clock, name: &str, key: WireguardKey) {
    let id = DeviceId::parse(name).expect("the test names a device");
    let digest = Digest::of(name.as_bytes());
    let token = NewEnrollmentToken {
        secret_hash: digest,
        purpose: TokenPurpose::Enroll,
        id_pattern: IdPattern::parse(name).expect("a name is a pattern"),
        group: GroupName::default(),
        quota: 1,
        expires_at: clock.now() + Duration::from_hours(1),
    };
    store.create_token(&token, &Actor::Console).await.expect(STORE);
    let application = Application {
        csr_digest: digest,
        key_digest: digest,
        csr_der: name.as_bytes().to_vec(),
        wireguard_key: key,
        wireguard_key_is_ours: false,
        device_type: Some("pump".to_owned()),
        display_name: None,
    };
    let admission = store.admit(&id, &digest, &application).await.expect(STORE);
    let issued = IssuedCertificate {
        serial: digest.to_string(),
        // No two devices have the same.
        leaf_pem: format!("the certificate of {name}"),
        ca_chain_pem: String::new(),
        intermediates: 1,
        not_before: clock.now(),
        not_after: clock.now() + Duration::from_hours(24),
    };
    store.record_certificate(&admission.intent, &issued).await.expect(STORE);
    store.mark_enrolled(&id, &[]).await.expect(STORE);
}

const STORE: &str = "the test's database is there";
