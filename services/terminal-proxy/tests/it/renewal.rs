//! A session goes on with a fresh token, and with nothing less.

use serde_json::json;

use crate::support::{Answer, ORIGIN, Terminal, World, bearer};

#[tokio::test]
async fn a_fresh_token_carries_a_session_beyond_the_one_that_opened_it() {
    let world = World::new().await;
    let mut renewed = world.opened_for_a_second("pump-1").await;
    let id = world.session().await.session.id.to_string();
    let mut other = world.opened_for_a_second("pump-2").await;

    let answer = world.renew(&id, &world.token("operator")).await;

    assert_eq!((answer.status, &answer.json()["expires_in"]), (200, &json!(300)));
    assert_eq!(other.closed().await, (4401, "token-expired".to_owned()));
    renewed.say("0still here").await;
    renewed.hear("0still here").await;
}

#[tokio::test]
async fn only_the_sessions_person_renews_it() {
    let world = World::new().await;
    let _terminal = world.opened("pump-1").await;
    let id = world.session().await.session.id.to_string();

    for person in ["admin", "outsider", "viewer"] {
        let answer = world.renew(&id, &world.token(person)).await;
        assert_eq!(answer.problem(), (404, "not-found".to_owned()), "{person}");
    }
    let nothing = world
        .renew("0197e4f4-0000-7000-8000-000000000000", &world.token("operator"))
        .await;
    assert_eq!(nothing.problem(), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn a_fresh_token_without_the_role_or_the_group_ends_the_session() {
    let world = World::new().await;
    for (member, value, expected) in [
        ("groups", json!(["/fleets/other"]), (404, "not-found")),
        ("realm_access", json!({"roles": ["fleet-viewer"]}), (403, "forbidden")),
    ] {
        let mut terminal = world.opened("pump-1").await;
        let id = world.session().await.session.id.to_string();
        let mut claims = world.issuer.claims_for("operator");
        claims[member] = value;

        let (status, slug) = world.renew(&id, &world.issuer.mint(&claims)).await.problem();

        assert_eq!((status, slug.as_str()), expected, "{member}");
        assert_eq!(terminal.closed().await, (4403, "access-lost".to_owned()), "{member}");
    }
}

#[tokio::test]
async fn the_ticket_call_names_the_session_that_the_ticket_opens() {
    let world = World::new().await;
    let page = format!("Origin: {ORIGIN}\r\n");
    let ticket = world
        .ask_for_ticket("pump-1", &world.token("operator"), &page)
        .await
        .json();
    assert_eq!(ticket["session_expires_in"], 300);

    let secret = ticket["ticket"].as_str().unwrap();
    let target = format!("/terminal/pump-1?ticket={secret}");
    let _terminal = world.open(&target, &[("origin", ORIGIN)]).await;

    assert_eq!(ticket["session_id"], world.session().await.session.id.to_string());
}

impl World {
    async fn renew(&self, session: &str, token: &str) -> Answer {
        let request_line = format!("POST /sessions/{session}/token HTTP/1.1");
        self.send(&request_line, &bearer(token), "").await
    }

    /// Opens a terminal with a token that ends in a second.
    async fn opened_for_a_second(&self, device: &str) -> Terminal {
        let mut claims = self.issuer.claims_for("operator");
        claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 1);
        let authorization = format!("Bearer {}", self.issuer.mint(&claims));
        let headers = [("authorization", authorization.as_str())];
        let mut terminal = self.open(&format!("/terminal/{device}"), &headers).await;
        terminal.say("{}").await;
        terminal.hear("0$ ").await;
        terminal
    }
}
