//! terminal-proxy works with the rights of its own role, and cannot do more.

use std::time::Duration;

use common::domain::{
    Actor, AuditEvent, AuditTrail, Clock, DeviceDirectory, DeviceFilter, DeviceRegistry, ForwardPass, NetworkPlan,
    ProxyProcesses, SessionEnding, SessionLedger, TicketOffice,
};
use common::store::{Migrations, Store, StoreOptions};

use super::databases::PostgresSchema;
use super::fleet::{Fleet, admin, id, random_digest, session_on};
use super::tickets::ticket;

const GRANTS: &str = include_str!("../../../../deploy/postgres/terminal-proxy.sql");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_reads_the_directory_and_writes_sessions_tickets_and_audit_and_nothing_else() {
    let fleet = Fleet::<PostgresSchema>::new().await;
    let device = fleet.enroll("pump-7").await;
    fleet.database.run(GRANTS).await;
    fleet.database.run(GRANTS).await;
    let options = StoreOptions {
        migrations: Migrations::Refuse,
        ..StoreOptions::new("proxy-1")
    };
    let url = fleet.database.url_as("terminal_proxy");
    let proxy = Store::open(&url, options, fleet.clock.clone()).await.unwrap();

    assert!(proxy.find(&id("pump-7")).await.unwrap().is_some());
    assert!(proxy.view(&id("pump-7")).await.unwrap().is_some());
    let page = DeviceFilter {
        limit: 10,
        ..DeviceFilter::default()
    };
    assert_eq!(proxy.list(&page).await.unwrap().views.len(), 1);
    assert_eq!(proxy.further_prefixes().await.unwrap(), []);
    let secret = random_digest();
    proxy.issue_ticket(&secret, &ticket(fleet.clock.now())).await.unwrap();
    assert!(proxy.redeem_ticket(&secret).await.unwrap().is_some());
    let session = session_on(&device);
    proxy.open_session(&session).await.unwrap();
    assert_eq!(proxy.standings("proxy-1").await.unwrap().len(), 1);
    proxy.request_end(session.id, &admin()).await.unwrap();
    proxy.close_session(&session, &ENDED).await.unwrap();
    assert_eq!(proxy.close_orphans("proxy-1").await.unwrap(), 0);
    proxy.record(&refusal()).await.unwrap();
    let soon = fleet.clock.now() + Duration::from_secs(90);
    proxy.announce("proxy-1", None, soon).await.unwrap();
    assert_eq!(proxy.process_url("proxy-1").await.unwrap(), None);
    assert_eq!(proxy.close_sessions_of_the_dead().await.unwrap(), 0);
    let pass = ForwardPass {
        instance: "proxy-1".to_owned(),
        client_address: "203.0.113.9".to_owned(),
        expires_at: soon,
    };
    proxy.issue_pass(&secret, &pass).await.unwrap();
    assert!(proxy.redeem_pass(&secret, "proxy-1").await.unwrap().is_some());
    assert_eq!(proxy.sessions(None, false).await.unwrap().len(), 1);

    assert!(proxy.retire(&id("pump-7"), &Actor::Console, &[]).await.is_err());
    assert!(proxy.certificates(&id("pump-7")).await.is_err());
    for forbidden in [
        "UPDATE device SET group_name = 'other'",
        "DELETE FROM session",
        "UPDATE session SET subject = 'nobody'",
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
        "SELECT * FROM enrollment_token",
    ] {
        assert!(
            fleet.database.is_refused_to("terminal_proxy", forbidden).await,
            "{forbidden}"
        );
    }
    proxy.close().await;
    fleet.end().await;
}

const ENDED: SessionEnding = SessionEnding {
    reason: "killed",
    output_bytes: 0,
    input_bytes: 0,
    recording: None,
};

fn refusal() -> AuditEvent {
    AuditEvent {
        actor: admin(),
        action: "terminal.refused",
        device_id: Some(id("pump-7")),
        detail: serde_json::json!({}),
    }
}
