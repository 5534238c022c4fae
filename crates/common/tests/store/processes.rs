use std::time::Duration;

use common::domain::{Clock, ForwardPass, NewSession, ProxyProcesses, SessionLedger};

use super::databases::TestDatabase;
use super::fleet::{Fleet, random_digest, session_on};

pub(crate) async fn a_process_is_found_while_it_lives<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let until = fleet.clock.now() + Duration::from_secs(90);
    let url = "https://proxy-1.internal:8888";
    fleet.store.announce("proxy-1", Some(url), until).await.unwrap();
    fleet.store.announce("proxy-2", None, until).await.unwrap();

    assert_eq!(fleet.store.process_url("proxy-1").await.unwrap().as_deref(), Some(url));
    assert_eq!(fleet.store.process_url("proxy-2").await.unwrap(), None);
    assert_eq!(fleet.store.process_url("proxy-3").await.unwrap(), None);
    fleet.store.announce("proxy-1", None, until).await.unwrap();
    assert_eq!(fleet.store.process_url("proxy-1").await.unwrap(), None);
    fleet.store.announce("proxy-1", Some(url), until).await.unwrap();
    fleet.clock.advance(Duration::from_secs(90));
    assert_eq!(fleet.store.process_url("proxy-1").await.unwrap(), None);
    fleet.end().await;
}

pub(crate) async fn sessions_of_a_process_that_is_not_heard_of_any_more_are_closed_by_others<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let device = fleet.enroll("pump-7").await;
    let of = |instance: &str| NewSession {
        instance: instance.to_owned(),
        ..session_on(&device)
    };
    let (dead, living, unknown) = (of("proxy-1"), of("proxy-2"), of("proxy-3"));
    for session in [&dead, &living, &unknown] {
        fleet.store.open_session(session).await.unwrap();
    }
    let soon = fleet.clock.now() + Duration::from_secs(90);
    fleet.store.announce("proxy-1", None, soon).await.unwrap();
    fleet.store.announce("proxy-2", None, soon).await.unwrap();
    assert_eq!(fleet.store.close_sessions_of_the_dead().await.unwrap(), 0);

    fleet.clock.advance(Duration::from_secs(90));
    let later = fleet.clock.now() + Duration::from_secs(90);
    fleet.store.announce("proxy-2", None, later).await.unwrap();

    assert_eq!(fleet.store.close_sessions_of_the_dead().await.unwrap(), 1);
    assert_eq!(fleet.store.close_sessions_of_the_dead().await.unwrap(), 0);
    let reason = async |session: &NewSession| fleet.store.session(session.id).await.unwrap().unwrap().reason;
    assert_eq!(reason(&dead).await.as_deref(), Some("process_lost"));
    assert_eq!((reason(&living).await, reason(&unknown).await), (None, None));
    assert_eq!(fleet.database.count("SELECT count(*) FROM proxy_process").await, 1);
    fleet.end().await;
}

pub(crate) async fn a_pass_is_good_once_for_one_process_and_not_for_long<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let pass = ForwardPass {
        instance: "proxy-2".to_owned(),
        client_address: "203.0.113.9".to_owned(),
        expires_at: fleet.clock.now() + Duration::from_secs(30),
    };
    let issue = async || {
        let secret = random_digest();
        fleet.store.issue_pass(&secret, &pass).await.unwrap();
        secret
    };
    let secret = issue().await;

    let redeemed = fleet.store.redeem_pass(&secret, "proxy-2").await.unwrap();
    assert_eq!(redeemed.as_ref(), Some(&pass));
    assert_eq!(fleet.store.redeem_pass(&secret, "proxy-2").await.unwrap(), None);
    let for_another = issue().await;
    assert_eq!(fleet.store.redeem_pass(&for_another, "proxy-1").await.unwrap(), None);
    assert_eq!(fleet.store.redeem_pass(&for_another, "proxy-2").await.unwrap(), None);
    let old = issue().await;
    fleet.clock.advance(Duration::from_secs(30));
    assert_eq!(fleet.store.redeem_pass(&old, "proxy-2").await.unwrap(), None);
    fleet.end().await;
}
