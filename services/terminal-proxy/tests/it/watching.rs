//! Who sees what somebody else's session shows, and who types along.

use common::domain::Actor;
use common::domain::DeviceRegistry as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{ORIGIN, Terminal, World, bearer};

#[tokio::test]
async fn an_admin_sees_everything_from_the_beginning_and_cannot_type() {
    let world = World::new().await;
    let (mut terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let id = greeting["session_id"].as_str().unwrap();
    assert_eq!(terminal.output(2).await, "$ ");
    terminal.say("0before").await;
    assert_eq!(terminal.output(6).await, "before");

    let (mut watcher, news) = world.watched(id, "watch", "admin").await;

    assert_eq!(
        (
            &news["columns"],
            &news["rows"],
            &news["offset"],
            &news["lost"],
            &news["may_type"]
        ),
        (&json!(100), &json!(30), &json!(0), &json!(0), &json!(false))
    );
    assert_eq!(watcher.output(8).await, "$ before");
    watcher.say("0rm -rf /").await;
    terminal.say(r#"1{"columns":120,"rows":40}"#).await;
    assert_eq!(watcher.news().await["columns"], 120);
    terminal.say("0after").await;
    assert_eq!(watcher.output(5).await, "after");
    let list = world.get("/sessions", &world.token("operator")).await.json();
    assert_eq!(list["sessions"][0]["watchers"], 1);
    assert!(
        world
            .device
            .look(|seen| !seen.messages.contains(&"0rm -rf /".to_owned()))
    );

    terminal.say("0exit").await;
    assert_eq!(watcher.closed().await, (1000, "session-ended".to_owned()));
    assert!(world.actions().await.contains(&"session.watched".to_owned()));
}

#[tokio::test]
async fn a_session_of_plain_ttyd_is_watched_from_now_on() {
    let world = World::new().await;
    let mut terminal = world.opened("pump-1").await;
    let id = world.session().await.session.id.to_string();

    let (mut watcher, _) = world.watched(&id, "watch", "admin").await;
    terminal.say("0hello").await;

    assert_eq!(watcher.output(5).await, "hello");
}

#[tokio::test]
async fn nobody_but_admins_watches_and_nobody_types_along_uninvited() {
    let world = World::new().await;
    let _terminal = world.opened("pump-1").await;
    let id = world.session().await.session.id.to_string();
    for (route, person, expected) in [
        ("watch", "operator", (403, "forbidden")),
        ("watch", "viewer", (403, "forbidden")),
        ("join", "viewer", (403, "forbidden")),
        ("join", "operator", (404, "not-found")),
        ("join", "admin", (404, "not-found")),
        ("join", "outsider", (404, "not-found")),
    ] {
        let answer = world.ask_to_see(&id, route, person).await;
        let (status, slug) = answer.problem();
        assert_eq!((status, slug.as_str()), expected, "{person} at {route}");
        let query = if route == "join" { "?type=true" } else { "" };
        let target = format!("/sessions/{id}/watch{query}");
        let (status, slug) = world.refused(&target, &bearer(&world.token(person))).await.problem();
        assert_eq!((status, slug.as_str()), expected, "{person} at {target}");
    }
    let nothing = "0197e4f4-0000-7000-8000-000000000000";
    let answer = world.ask_to_see(nothing, "watch", "admin").await;
    assert_eq!(answer.problem(), (404, "not-found".to_owned()));
    let target = format!("/sessions/{nothing}/watch");
    let unknown = world.refused(&target, &bearer("no token")).await;
    assert_eq!(unknown.problem(), (401, "invalid-token".to_owned()));
}

#[tokio::test]
async fn an_operator_types_along_while_the_sessions_person_lets_them() {
    let world = World::new().await;
    let (mut terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let id = greeting["session_id"].as_str().unwrap().to_owned();
    terminal.output(2).await;
    for person in ["outsider", "admin"] {
        assert_eq!(world.share(&id, person, true).await, 404, "{person}");
    }
    assert_eq!(world.share(&id, "operator", true).await, 204);

    let (mut guest, news) = world.watched(&id, "join", "admin").await;
    assert_eq!(news["may_type"], true);
    guest.output(2).await;
    guest.say("0together").await;
    guest.say(r#"1{"columns":1,"rows":1}"#).await;

    assert_eq!(terminal.output(8).await, "together");
    assert_eq!(guest.output(8).await, "together");

    assert_eq!(world.share(&id, "operator", false).await, 204);
    guest.say("0not any more").await;
    terminal.say("0alone").await;
    assert_eq!(terminal.output(5).await, "alone");
    let messages = world.device.look(|seen| seen.messages.clone());
    assert_eq!(messages[1..], ["0together", "0alone"]);
}

#[tokio::test]
async fn a_ticket_to_watch_is_good_for_one_session_and_for_watching() {
    let world = World::new().await;
    let first = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let second = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let ids = [&first.1, &second.1].map(|greeting| greeting["session_id"].as_str().unwrap().to_owned());
    let page = format!("Origin: {ORIGIN}\r\n");
    for target in [
        format!("/sessions/{}/watch?ticket=", ids[1]),
        format!("/sessions/{}/watch?type=true&ticket=", ids[0]),
        "/terminal/pump-1?ticket=".to_owned(),
    ] {
        let ticket = world.ask_to_see(&ids[0], "watch", "admin").await.json();
        let target = target + ticket["ticket"].as_str().unwrap();
        let refused = world.refused(&target, &page).await;
        assert_eq!(refused.problem(), (401, "invalid-ticket".to_owned()), "{target}");
    }
}

#[tokio::test]
async fn watching_ends_with_the_device() {
    let world = World::new().await;
    let (_terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let (mut watcher, _) = world
        .watched(greeting["session_id"].as_str().unwrap(), "watch", "admin")
        .await;

    world
        .store
        .retire(&"pump-1".parse().unwrap(), &Actor::Console, &[])
        .await
        .unwrap();

    assert_eq!(watcher.closed().await, (1000, "session-ended".to_owned()));
}

impl World {
    async fn ask_to_see(&self, session: &str, route: &str, person: &str) -> crate::support::Answer {
        let headers = format!("{}Origin: {ORIGIN}\r\n", bearer(&self.token(person)));
        self.send(&format!("POST /sessions/{session}/{route} HTTP/1.1"), &headers, "")
            .await
    }

    /// Watches or joins a session by ticket, as a page does; returns the first news.
    async fn watched(&self, session: &str, route: &str, person: &str) -> (Terminal, Value) {
        let ticket = self.ask_to_see(session, route, person).await;
        assert_eq!(ticket.status, 201, "{}", ticket.body);
        let kind = if route == "join" { "&type=true" } else { "" };
        let target = format!(
            "/sessions/{session}/watch?ticket={}{kind}",
            ticket.json()["ticket"].as_str().unwrap()
        );
        let mut watcher = self.open(&target, &[("origin", ORIGIN)]).await;
        let news = watcher.news().await;
        (watcher, news)
    }

    async fn share(&self, session: &str, person: &str, shared: bool) -> u16 {
        let headers = format!("{}Content-Type: application/json\r\n", bearer(&self.token(person)));
        let body = json!({ "shared": shared }).to_string();
        self.send(&format!("PATCH /sessions/{session} HTTP/1.1"), &headers, &body)
            .await
            .status
    }
}

impl Terminal {
    async fn news(&mut self) -> Value {
        loop {
            match self.next().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(close) => panic!("closed with {close:?}"),
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
