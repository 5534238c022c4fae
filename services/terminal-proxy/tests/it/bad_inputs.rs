//! Bad tokens, handshakes and frames, and the careful answers: `tests/bad-inputs/terminal.json`, played row by row on
//! the library in this process and, as far as no device is needed, on the built program. A row's name is how people talk
//! about it.

mod forge;
mod row;
mod stage;
mod wire;

use std::net::Ipv4Addr;

use self::row::{Row, Session, Step, rows};
use self::stage::{Place, Stage};
use self::wire::{Connection, Reply};
use crate::support::UPGRADE;

/// The sources in which a row's own test may be.
const SOURCES: &[&str] = &[
    include_str!("device.rs"),
    include_str!("door.rs"),
    include_str!("ledger.rs"),
    include_str!("life.rs"),
    include_str!("renewal.rs"),
    include_str!("sessions.rs"),
    include_str!("tickets.rs"),
    include_str!("../../src/config.rs"),
    include_str!("../../src/relay/tests.rs"),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_answered_as_written_in_process() {
    play(Place::InProcess).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_answered_as_written_by_the_built_program() {
    play(Place::Program).await;
}

#[test]
fn rows_that_need_a_stage_of_their_own_have_a_test_of_their_own() {
    for row in rows() {
        for test in &row.tests {
            let name = format!("fn {test}(");
            assert!(
                SOURCES.iter().any(|source| source.contains(&name)),
                "{}: there is no test {test}",
                row.number
            );
        }
        assert!(!row.tests.is_empty() || !row.steps.is_empty(), "{}", row.number);
    }
}

async fn play(place: Place) {
    let stage = Stage::new(place).await;
    let mut surprises = Vec::new();
    for (number, row) in rows().iter().enumerate() {
        let game = Game {
            stage: &stage,
            client: Ipv4Addr::new(127, 2, 0, u8::try_from(number + 1).unwrap()),
        };
        if let Err(surprise) = game.play(row).await {
            surprises.push(format!("{} {}: {surprise}", row.number, row.name));
        }
    }
    assert!(surprises.is_empty(), "{place:?}:\n{}", surprises.join("\n"));
    let log = stage.log();
    for secret in stage.secrets() {
        assert!(!log.contains(&secret), "the log has {secret}");
    }
}

/// A row on its stage. It comes from an address of its own, so that no row pays for another's failures.
struct Game<'a> {
    stage: &'a Stage,
    client: Ipv4Addr,
}

impl Game<'_> {
    async fn play(&self, row: &Row) -> Result<(), String> {
        let mut before: Option<Reply> = None;
        for (index, step) in row.steps.iter().enumerate() {
            if step.needs_device() && !self.stage.has_device() {
                continue;
            }
            let reply = self
                .step(step)
                .await
                .map_err(|surprise| format!("step {}: {surprise}", index + 1))?;
            if step.same {
                let before = before.as_ref().ok_or("nothing was answered before")?;
                if reply.without_instance() != before.without_instance() {
                    return Err(format!("{reply:?} instead of {before:?}"));
                }
            }
            before = Some(reply);
        }
        Ok(())
    }

    async fn step(&self, step: &Step) -> Result<Reply, String> {
        if let Some(mood) = &step.device {
            self.stage.device_is(mood);
        }
        let fetches = self.stage.forge.fetches();
        let request = self.request(step).await;
        for _ in 0..step.before {
            Connection::open(self.stage.address, self.client)
                .await
                .ask(&request)
                .await;
        }
        let mut connection = Connection::open(self.stage.address, self.client).await;
        let reply = connection.ask(&request).await;
        if let Some(session) = &step.session {
            if reply.status != 101 {
                return Err(format!("no session: {reply:?}"));
            }
            self.session(&mut connection, session).await?;
            return Ok(reply);
        }
        let answer = (reply.status, reply.slug());
        if !step
            .answers
            .iter()
            .any(|expected| (expected.status, expected.slug.clone()) == answer)
        {
            return Err(format!("{answer:?} instead of {:?}", step.answers));
        }
        reply.is_careful()?;
        let more = self.stage.forge.fetches() - fetches;
        if more > 1 {
            return Err(format!("{more} fetches of the keys"));
        }
        Ok(reply)
    }

    /// What is sent, byte for byte.
    async fn request(&self, step: &Step) -> Vec<u8> {
        let mut words = vec![("{token}", self.stage.forge.token(&step.token))];
        if let Some(wish) = &step.ticket {
            words.push(("{ticket}", self.ticket(wish).await));
        }
        let fill = |text: &str| {
            words
                .iter()
                .fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
        };
        let mut head = fill(&step.request);
        head.push_str("\r\n");
        let headers: Vec<String> = step.headers.iter().map(|header| fill(header)).collect();
        if !headers.iter().any(|header| header.starts_with("host:")) {
            head.push_str("host: fleet.example.com\r\n");
        }
        let upgrade = step.upgrade.as_deref().unwrap_or(UPGRADE);
        head.push_str(upgrade);
        if !upgrade.contains("Connection: ") {
            head.push_str("connection: close\r\n");
        }
        for header in &headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    async fn ticket(&self, wish: &row::TicketWish) -> String {
        let token = self.stage.forge.token(&row::Forgery::default());
        let body = format!(r#"{{"device_id":"{}"}}"#, wish.device);
        let origin = wish
            .origin
            .as_ref()
            .map_or_else(String::new, |origin| format!("origin: {origin}\r\n"));
        let request = format!(
            "POST /terminal/tickets HTTP/1.1\r\nhost: fleet.example.com\r\nconnection: close\r\n\
             authorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{origin}\r\n{body}",
            body.len()
        );
        let mut connection = Connection::open(self.stage.address, self.client).await;
        let reply = connection.ask(request.as_bytes()).await;
        reply.json()["ticket"].as_str().unwrap().to_owned()
    }

    /// An open terminal is sent what no browser sends.
    async fn session(&self, connection: &mut Connection, session: &Session) -> Result<(), String> {
        self.stage.forget_messages();
        connection
            .say(b"{\"AuthToken\":\"\",\"columns\":100,\"rows\":30}")
            .await;
        for sent in &session.send {
            connection.send(&sent.bytes(), sent.times).await;
        }
        if let Some(codes) = &session.closed {
            let (code, reason) = connection.closed().await;
            let is_expected = codes
                .iter()
                .any(|expected| (expected.code, expected.reason.as_str()) == (code, reason.as_str()));
            return is_expected
                .then_some(())
                .ok_or(format!("closed with {code} {reason} instead of {codes:?}"));
        }
        // The session lives: what is typed now comes back.
        connection.say(b"0still here").await;
        connection.hear("0still here").await;
        let heard = self.stage.messages();
        let expected: Vec<&str> = [HELLO]
            .into_iter()
            .chain(session.heard.iter().map(String::as_str))
            .chain(["0still here"])
            .collect();
        (heard == expected)
            .then_some(())
            .ok_or(format!("the device heard {heard:?}"))
    }
}

/// What the proxy says to every device first.
const HELLO: &str = r#"{"AuthToken":"","columns":100,"rows":30}"#;
