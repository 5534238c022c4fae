//! One-time tickets.

use std::time::Duration;

use crate::support::{ORIGIN, World, bearer};

const PAGE: &str = "Origin: https://fleet.example.com\r\n";

#[tokio::test]
async fn a_ticket_opens_its_device_once() {
    let world = World::new().await;
    let ticket = world.ticket(PAGE).await;

    let mut terminal = world
        .open(
            &format!("/terminal?deviceId=pump-1&ticket={ticket}"),
            &[("origin", ORIGIN)],
        )
        .await;
    terminal.say("{}").await;
    terminal.hear("0$ ").await;

    let again = world
        .refused(&format!("/terminal?deviceId=pump-1&ticket={ticket}"), PAGE)
        .await;
    assert_eq!(again.problem(), (401, "invalid-ticket".to_owned()));
}

#[tokio::test]
async fn a_ticket_is_good_for_30_seconds_one_device_and_one_page() {
    let world = World::with(|settings| {
        settings
            .allowed_origins
            .push("https://widget.example.com".parse().unwrap());
    })
    .await;
    let redeem = async |target: String, headers: &str| world.refused(&target, headers).await.problem();
    let invalid = (401, "invalid-ticket".to_owned());

    let ticket = world.ticket(PAGE).await;
    assert_eq!(redeem(format!("/terminal/pump-2?ticket={ticket}"), PAGE).await, invalid);

    let ticket = world.ticket(PAGE).await;
    assert_eq!(
        redeem(
            format!("/terminal/pump-1?ticket={ticket}"),
            "Origin: https://widget.example.com\r\n"
        )
        .await,
        invalid
    );

    let ticket = world.ticket(PAGE).await;
    assert_eq!(redeem(format!("/terminal/pump-1?ticket={ticket}"), "").await, invalid);

    let ticket = world.ticket(PAGE).await;
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(redeem(format!("/terminal/pump-1?ticket={ticket}"), PAGE).await, invalid);

    assert_eq!(redeem("/terminal/pump-1?ticket=guess".to_owned(), PAGE).await, invalid);
}

#[tokio::test]
async fn a_ticket_that_no_page_asked_for_opens_without_a_page() {
    let world = World::new().await;
    let ticket = world.ticket("").await;

    world.open(&format!("/terminal/pump-1?ticket={ticket}"), &[]).await;
}

#[tokio::test]
async fn the_ticket_call_says_why_a_terminal_would_be_refused() {
    let world = World::new().await;
    for (person, device, expected) in [
        ("operator", "nothing", (404, "not-found")),
        ("outsider", "pump-1", (404, "not-found")),
        ("viewer", "pump-1", (403, "forbidden")),
        ("operator", "../pump-1", (400, "invalid-device-id")),
    ] {
        let (status, slug) = world.ask_for_ticket(device, &world.token(person), PAGE).await.problem();
        assert_eq!((status, slug.as_str()), expected, "{person} {device}");
    }
    let elsewhere = world
        .ask_for_ticket("pump-1", &world.token("operator"), "Origin: https://evil.tld\r\n")
        .await;
    assert_eq!(elsewhere.problem(), (403, "origin-not-allowed".to_owned()));
    let nobody = world
        .send(
            "POST /terminal/tickets HTTP/1.1",
            "Content-Type: application/json\r\n",
            "{}",
        )
        .await;
    assert_eq!(nobody.problem(), (401, "invalid-token".to_owned()));
    let more = format!("{}Content-Type: application/json\r\n", bearer(&world.token("operator")));
    let more = world
        .send(
            "POST /terminal/tickets HTTP/1.1",
            &more,
            r#"{"device_id":"pump-1","as":"root"}"#,
        )
        .await;
    assert_eq!(more.problem(), (422, "invalid-field".to_owned()));
}

impl World {
    async fn ticket(&self, headers: &str) -> String {
        let answer = self.ask_for_ticket("pump-1", &self.token("operator"), headers).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let ticket = answer.json()["ticket"].as_str().unwrap().to_owned();
        assert_eq!(ticket.len(), 64);
        ticket
    }
}
