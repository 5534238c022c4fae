use std::collections::BTreeSet;
use std::time::Duration;

use common::domain::{Clock, GroupName, Operator, Role, TerminalPurpose, Ticket, TicketOffice, Timestamp};
use tokio::task::JoinSet;

use super::databases::TestDatabase;
use super::fleet::{Fleet, id, random_digest};

pub(crate) async fn a_ticket_is_redeemed_once<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (secret, ticket) = (random_digest(), ticket(fleet.clock.now()));
    fleet.store.issue_ticket(&secret, &ticket).await.unwrap();

    assert_eq!(fleet.store.redeem_ticket(&random_digest()).await.unwrap(), None);
    assert_eq!(fleet.store.redeem_ticket(&secret).await.unwrap(), Some(ticket));
    assert_eq!(fleet.store.redeem_ticket(&secret).await.unwrap(), None);
    fleet.end().await;
}

pub(crate) async fn of_fifty_who_redeem_a_ticket_one_gets_it<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let secret = random_digest();
    fleet
        .store
        .issue_ticket(&secret, &ticket(fleet.clock.now()))
        .await
        .unwrap();

    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let store = fleet.store.clone();
        tasks.spawn(async move { store.redeem_ticket(&secret).await.unwrap() });
    }

    assert_eq!(tasks.join_all().await.into_iter().flatten().count(), 1);
    fleet.end().await;
}

pub(crate) async fn a_ticket_ends_with_its_time<D: TestDatabase>() {
    let fleet = Fleet::<D>::new().await;
    let (first, second) = (random_digest(), random_digest());
    fleet
        .store
        .issue_ticket(&first, &ticket(fleet.clock.now()))
        .await
        .unwrap();
    fleet.clock.advance(Duration::from_secs(30));
    assert_eq!(fleet.store.redeem_ticket(&first).await.unwrap(), None);

    fleet
        .store
        .issue_ticket(&first, &ticket(fleet.clock.now()))
        .await
        .unwrap();
    fleet.clock.advance(Duration::from_secs(30));
    fleet
        .store
        .issue_ticket(&second, &ticket(fleet.clock.now()))
        .await
        .unwrap();
    assert_eq!(fleet.database.count("SELECT count(*) FROM ticket").await, 1);
    fleet.end().await;
}

pub(crate) fn ticket(now: Timestamp) -> Ticket {
    Ticket {
        purpose: TerminalPurpose::Join,
        operator: Operator {
            subject: "b1946ac9".to_owned(),
            username: "ada".to_owned(),
            role: Role::Operator,
            groups: BTreeSet::from([GroupName::default()]),
            expires_at: now + Duration::from_mins(5),
        },
        device_id: id("pump-7"),
        origin: Some("https://terminal.example".to_owned()),
        expires_at: now + Duration::from_secs(30),
        sealed_token: Some(b"sealed".to_vec()),
    }
}
