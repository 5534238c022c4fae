//! A device whose certificates are not what the bridge knows: one of them was lost there, or all have ended.

use std::fs;
use std::sync::atomic::Ordering;

use crate::renewal::{Bridge, Validity, der};

#[tokio::test]
async fn a_new_certificate_that_the_bridge_knows_no_more_is_asked_for_anew_with_the_old_one() {
    let bridge = Bridge::new(Validity::around_now()).await;
    let enrolled = bridge.enrolled().await;
    let old = enrolled.certificate_pem().to_owned();
    bridge.world.is_broken.store(true, Ordering::Relaxed);
    assert!(enrolled.renew(bridge.url.parse().unwrap()).await.is_err());
    bridge.world.is_broken.store(false, Ordering::Relaxed);
    let forgotten = bridge.visits()[1].shown.clone();
    *bridge.world.forgotten.lock().unwrap() = Some(forgotten.clone());

    let renewed = bridge.again().await.renew(bridge.url.parse().unwrap()).await.unwrap();

    let visits = bridge.visits();
    let [.., lost, renewal, proof] = visits.as_slice() else {
        panic!("{visits:?}")
    };
    assert_eq!((&lost.shown, renewal.path.as_str()), (&forgotten, "renew"));
    assert_eq!(renewal.shown, der(&old));
    assert_eq!(proof.shown, der(renewed.certificate_pem()));
    assert_ne!(proof.shown, forgotten);
}

#[tokio::test]
async fn a_device_that_comes_back_with_a_ticket_keeps_its_keys_and_forgets_what_it_was_about_to_use() {
    let bridge = Bridge::new(Validity::around_now()).await;
    let enrolled = bridge.enrolled().await;
    let old = enrolled.certificate_pem().to_owned();
    bridge.world.is_broken.store(true, Ordering::Relaxed);
    assert!(enrolled.renew(bridge.url.parse().unwrap()).await.is_err());
    let request = fs::read(bridge.world.directory.join("request.csr")).unwrap();

    let settings = bridge.settings(bridge.world.authority.root_pem());
    let back = bridge.device().await.enroll_again(&settings).await.unwrap();

    assert_ne!(back.certificate_pem(), old);
    assert_eq!(bridge.kept(), back.certificate_pem());
    assert_eq!(fs::read(bridge.world.directory.join("request.csr")).unwrap(), request);
    assert!(!bridge.world.directory.join("renewal.json").exists());
}
