//! A person who is not any more who their token says loses what the token opened.

use serde_json::{Value, json};

use crate::support::{ORIGIN, World, bearer};

#[tokio::test]
async fn a_role_or_a_group_that_is_taken_away_ends_the_session_and_nobody_elses() {
    for (roles, groups) in [
        (&["fleet-viewer"][..], "/fleets/default"),
        (&[], "/fleets/default"),
        (&["fleet-operator"], "/fleets/elsewhere"),
    ] {
        let world = World::new().await;
        let mut of_operator = world.opened("pump-1").await;
        let (mut of_admin, _) = world.opened_to_resume("/terminal/pump-2", "admin").await;

        world.change("operator", roles, groups);

        assert_eq!(
            of_operator.closed().await,
            (4403, "access-lost".to_owned()),
            "{roles:?} {groups}"
        );
        of_admin.say("0still here").await;
        of_admin.output(2 + "still here".len()).await;
    }
}

#[tokio::test]
async fn a_person_who_is_disabled_loses_their_sessions() {
    let world = World::new().await;
    let mut by_token = world.opened("pump-1").await;
    let ticket = world
        .ask_for_ticket("pump-2", &world.token("operator"), &format!("Origin: {ORIGIN}\r\n"))
        .await;
    let target = format!("/terminal/pump-2?ticket={}", ticket.json()["ticket"].as_str().unwrap());
    let mut by_ticket = world.open(&target, &[("origin", ORIGIN)]).await;

    world.issuer.issuer().disable_user("operator");

    assert_eq!(by_token.closed().await, (4403, "access-lost".to_owned()));
    assert_eq!(by_ticket.closed().await, (4403, "access-lost".to_owned()));
}

#[tokio::test]
async fn an_admin_who_becomes_an_operator_watches_no_more_and_keeps_their_own_terminal() {
    let world = World::new().await;
    let (_terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let (mut own, _) = world.opened_to_resume("/terminal/pump-2", "admin").await;
    let target = format!("/sessions/{}/watch", greeting["session_id"].as_str().unwrap());
    let authorization = format!("Bearer {}", world.token("admin"));
    let mut watcher = world.open(&target, &[("authorization", &authorization)]).await;

    world.change("admin", &["fleet-operator"], "/fleets/default");

    assert_eq!(watcher.closed().await, (4403, "access-lost".to_owned()));
    own.say("0still here").await;
    own.output(2 + "still here".len()).await;
}

#[tokio::test]
async fn the_doctor_says_that_a_token_is_older_than_the_truth() {
    let world = World::new().await;
    let token = world.token("operator");
    let verdict = async || {
        let report = world.get("/doctor/pump-1", &token).await.json();
        let chain = report["chain"].as_array().unwrap().clone();
        chain.into_iter().find(|link| link["check"] == "token").unwrap()
    };

    assert_eq!(verdict().await["ok"], json!(true));
    world.change("operator", &["fleet-admin"], "/fleets/default");
    let changed = verdict().await;
    assert_eq!(changed["ok"], json!(false));
    assert!(changed["detail"].as_str().unwrap().contains("log in again"));
    world.issuer.issuer().disable_user("operator");
    assert_eq!(verdict().await["ok"], json!(false));
}

#[tokio::test]
async fn the_doctor_shows_every_link_of_the_chain() {
    let world = World::new().await;

    let answer = world
        .send("GET /doctor/pump-1 HTTP/1.1", &bearer(&world.token("operator")), "")
        .await;

    let chain = answer.json()["chain"].as_array().unwrap().clone();
    let checks: Vec<&Value> = chain.iter().map(|link| &link["check"]).collect();
    assert_eq!(
        checks,
        [
            "token",
            "policy",
            "device",
            "certificate",
            "mqtt",
            "handshake",
            "tcp",
            "ttyd"
        ]
    );
    assert!(chain.iter().all(|link| link["detail"].as_str().unwrap().ends_with('.')));
}

impl World {
    fn change(&self, person: &str, roles: &[&str], group: &str) {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self.issuer.issuer().change_user(person, roles, vec![group.to_owned()]);
    }
}
