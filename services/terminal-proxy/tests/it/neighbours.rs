//! Several processes of the service, one database: whichever a person reaches, they reach their session.

use std::time::Duration;

use common::chassis::http_client::Trust;
use common::chassis::server::{Tls, TlsFiles};
use common::domain::{Actor, DeviceRegistry as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{ORIGIN, Terminal, World, bearer};
use crate::world::Connections;

#[tokio::test]
async fn a_person_who_comes_back_at_another_process_finds_their_shell() {
    let (world, neighbour) = two().await;
    let (mut terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    terminal.say("0before").await;
    assert_eq!(terminal.output(8).await, "$ before");
    drop(terminal);
    let id = greeting["session_id"].as_str().unwrap();

    let target = format!("/terminal/pump-1?resume={id}&offset=8");
    let (mut terminal, greeting) = neighbour.opened_to_resume(&target, "operator").await;

    assert_eq!(
        (&greeting["resumed"], &greeting["session_id"]),
        (&json!(true), &json!(id))
    );
    terminal.say("0after").await;
    assert_eq!(terminal.output(5).await, "after");
    let records = world.store_sessions().await;
    assert_eq!(
        records,
        [("test".to_owned(), None)],
        "the other process opened a session of its own"
    );
    terminal.say("0exit").await;
    assert_eq!(terminal.closed().await, (1000, "shell-exited".to_owned()));
}

#[tokio::test]
async fn nobody_else_gets_at_a_session_through_another_process() {
    let (world, neighbour) = two().await;
    let (mut terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    terminal.output(2).await;
    let id = greeting["session_id"].as_str().unwrap();
    for person in ["admin", "outsider", "viewer"] {
        let token = bearer(&neighbour.token(person));
        let renewed = neighbour
            .send(&format!("POST /sessions/{id}/token HTTP/1.1"), &token, "")
            .await;
        assert_eq!(renewed.problem(), (404, "not-found".to_owned()), "{person}");
    }
    let nobody = neighbour
        .refused(&format!("/terminal/pump-1?resume={id}"), &bearer("guess"))
        .await;
    assert_eq!(nobody.problem(), (401, "invalid-token".to_owned()));
    let forged = format!("{}forward-pass: guess\r\n", bearer(&neighbour.token("operator")));
    let forged = neighbour
        .send(&format!("GET /sessions/{id} HTTP/1.1"), &forged, "")
        .await;
    assert_eq!(forged.problem(), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn what_concerns_a_session_is_answered_by_the_process_that_serves_it() {
    let (world, neighbour) = two().await;
    let (mut terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let id = greeting["session_id"].as_str().unwrap();
    terminal.output(2).await;
    let operator = bearer(&neighbour.token("operator"));

    let shown = neighbour
        .get(&format!("/sessions/{id}"), &neighbour.token("operator"))
        .await;
    assert_eq!(shown.json()["attached"], json!(true));
    let renewed = neighbour
        .send(&format!("POST /sessions/{id}/token HTTP/1.1"), &operator, "")
        .await;
    assert_eq!((renewed.status, &renewed.json()["expires_in"]), (200, &json!(300)));
    let headers = format!("{operator}Content-Type: application/json\r\n");
    let shared = neighbour
        .send(
            &format!("PATCH /sessions/{id} HTTP/1.1"),
            &headers,
            r#"{"shared":true}"#,
        )
        .await;
    assert_eq!(shared.status, 204);

    let mut guest = neighbour.guest(id, "admin").await;
    guest.say("0together").await;
    assert_eq!(terminal.output(8).await, "together");
    assert_eq!(guest.output(10).await, "$ together");
}

#[tokio::test]
async fn a_kill_order_reaches_the_process_that_serves_the_session() {
    let (world, neighbour) = two().await;
    let mut terminal = world.opened("pump-1").await;
    let id = world.session().await.session.id;

    let killed = neighbour
        .send(
            &format!("DELETE /sessions/{id} HTTP/1.1"),
            &bearer(&neighbour.token("admin")),
            "",
        )
        .await;

    assert_eq!(killed.status, 202);
    let closed = timeout(Duration::from_secs(5), terminal.closed()).await.unwrap();
    assert_eq!(closed, (4403, "killed".to_owned()));
}

#[tokio::test]
async fn a_device_that_leaves_takes_its_sessions_along_on_every_process() {
    for (decommission, expected) in [(true, (4404, "device-decommissioned")), (false, (4403, "access-lost"))] {
        let (world, neighbour) = two().await;
        let mut here = world.opened("pump-1").await;
        let mut there = neighbour.opened("pump-1").await;
        let id = "pump-1".parse().unwrap();

        if decommission {
            world.store.retire(&id, &Actor::Console, &[]).await.unwrap();
        } else {
            world.store.quarantine(&id, &Actor::Console, &[]).await.unwrap();
        }

        let both = async { (here.closed().await, there.closed().await) };
        let (here, there) = timeout(Duration::from_secs(5), both).await.unwrap();
        assert_eq!((here.0, here.1.as_str()), expected);
        assert_eq!((there.0, there.1.as_str()), expected);
    }
}

#[tokio::test]
async fn a_process_that_stops_lets_people_go_who_only_passed_through_it() {
    let (world, neighbour) = two().await;
    let (terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    drop(terminal);
    let id = greeting["session_id"].as_str().unwrap();
    let target = format!("/terminal/pump-1?resume={id}&offset=0");
    let (mut passing, _) = neighbour.opened_to_resume(&target, "operator").await;
    assert_eq!(passing.output(2).await, "$ ");

    let (closed, drained) = tokio::join!(passing.closed(), neighbour.shutdown.finish(Duration::from_secs(10)));

    assert_eq!((closed, drained), ((1012, "proxy-restarts".to_owned()), true));
    let target = format!("/terminal/pump-1?resume={id}&offset=2");
    let (_terminal, greeting) = world.opened_to_resume(&target, "operator").await;
    assert_eq!(greeting["resumed"], json!(true));
}

#[tokio::test]
async fn a_shell_whose_process_cannot_be_reached_is_followed_by_a_new_one() {
    let (world, neighbour) = two().await;
    let (mut terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let id = greeting["session_id"].as_str().unwrap().to_owned();
    let (closed, _) = tokio::join!(terminal.closed(), world.shutdown.finish(Duration::from_secs(10)));
    assert_eq!(closed, (1012, "proxy-restarts".to_owned()));

    let target = format!("/terminal/pump-1?resume={id}&offset=0");
    let (_terminal, greeting) = neighbour.opened_to_resume(&target, "operator").await;

    assert_eq!(greeting["resumed"], json!(false));
}

#[tokio::test]
async fn people_are_handed_over_by_tls_and_only_to_a_process_that_shows_the_right_certificate() {
    let (world, authority) = (World::new().await, Authority::new());
    let tls = authority.server_tls().await;
    let holder = world
        .neighbour_with(
            "holder",
            Connections {
                tls: Some(tls),
                ..Connections::default()
            },
        )
        .await;
    let (mut terminal, greeting) = holder.opened_to_resume("/terminal/pump-1", "operator").await;
    terminal.say("0before").await;
    assert_eq!(terminal.output(8).await, "$ before");
    drop(terminal);
    let id = greeting["session_id"].as_str().unwrap();
    let target = format!("/terminal/pump-1?resume={id}&offset=8");

    for (name, believed, resumed) in [("stranger", &Authority::new(), false), ("friend", &authority, true)] {
        let trust = Trust::SystemAnd(believed.0.pem().into_bytes());
        let neighbour = world.neighbour_with(name, Connections { trust, tls: None }).await;

        let (mut terminal, greeting) = neighbour.opened_to_resume(&target, "operator").await;

        assert_eq!(greeting["resumed"], json!(resumed), "{name}");
        if resumed {
            terminal.say("0after").await;
            assert_eq!(terminal.output(5).await, "after");
        }
    }
}

/// An authority of the operator's own, for the processes among themselves.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    async fn server_tls(&self) -> Tls {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
        let (params, pair) = (
            CertificateParams::new(["127.0.0.1".to_owned()]),
            KeyPair::generate().unwrap(),
        );
        let leaf = params.unwrap().signed_by(&pair, &self.0).unwrap();
        std::fs::write(&certificate, leaf.pem()).unwrap();
        std::fs::write(&key, pair.serialize_pem()).unwrap();
        Tls::load(TlsFiles { certificate, key }, None).await.unwrap()
    }
}

async fn two() -> (World, World) {
    let world = World::new().await;
    let neighbour = world.neighbour("neighbour").await;
    (world, neighbour)
}

impl World {
    /// Instance and end of every session.
    async fn store_sessions(&self) -> Vec<(String, Option<String>)> {
        use common::domain::SessionLedger as _;
        let records = self.store.sessions(None, false).await.unwrap();
        records
            .into_iter()
            .map(|record| (record.session.instance, record.reason))
            .collect()
    }

    async fn guest(&self, session: &str, person: &str) -> Terminal {
        let headers = format!("{}Origin: {ORIGIN}\r\n", bearer(&self.token(person)));
        let ticket = self
            .send(&format!("POST /sessions/{session}/join HTTP/1.1"), &headers, "")
            .await;
        assert_eq!(ticket.status, 201, "{}", ticket.body);
        let ticket = ticket.json()["ticket"].as_str().unwrap().to_owned();
        self.open(
            &format!("/sessions/{session}/watch?type=true&ticket={ticket}"),
            &[("origin", ORIGIN)],
        )
        .await
    }
}
