//! Bad requests and the careful answers: `tests/bad-inputs/enrollment.json`, played row by row on the library in this
//! process and on the built program. A row's name is how people talk about it.

mod row;
pub(crate) mod stage;
mod values;
mod wire;

use std::collections::HashMap;
use std::net::Ipv4Addr;

use reqwest::Client;
use serde_json::{Value, json};

use self::row::{Answer, Row, Step, rows};
use self::stage::{Place, Stage};
use self::values::Values;
use self::wire::{Reply, exchange};
use crate::support::{TestDevice, World};

const ID: &str = "pump-7";
pub(crate) const USUAL_NETWORK: &str = "10.8.0.0/16";

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_answered_as_written_in_process() {
    play(Place::InProcess).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_answered_as_written_by_the_built_program() {
    play(Place::Program).await;
}

#[tokio::test]
async fn whoever_has_no_right_to_ask_learns_nothing_about_the_request() {
    let world = World::new().await;
    let nonsense = json!({ "csr": "hello", "wg_public_key": "hello" });
    let (other, good) = (world.token_for("pump-8").await, world.token_for(ID).await);

    let stranger = world.enroll(ID, "ibt_guess", &nonsense).await;
    let neighbour = world.enroll(ID, &other, &nonsense).await;
    let owner = world.enroll(ID, &good, &nonsense).await;

    assert_eq!(stranger.status_and_slug(), (401, "unauthenticated".to_owned()));
    assert_eq!(neighbour.status_and_slug(), (403, "device-mismatch".to_owned()));
    assert_eq!(owner.status_and_slug(), (422, "wg-key-invalid".to_owned()));
}

#[tokio::test]
async fn a_request_that_is_not_acceptable_is_counted_at_its_token() {
    let world = World::new().await;
    let token = world.token_for(ID).await;

    let csr = TestDevice::new("pump-8").csr;
    world.enroll(ID, &token, &json!({ "csr": csr })).await;
    for field in ["device_name", "device_type"] {
        let answer = world.enroll(ID, &token, &json!({ "csr": csr, field: "<b>" })).await;
        assert_eq!(answer.status_and_slug(), (422, "invalid-field".to_owned()));
        assert_eq!(answer.json()["field"], field);
    }

    let listed = world.admin("GET", "/enrollment-tokens").await.json();
    assert_eq!(
        (&listed["tokens"][0]["used"], &listed["tokens"][0]["refused"]),
        (&json!(0), &json!(3))
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_counted_at_its_token_and_means_nothing_without_one() {
    let world = World::new().await;
    let token = world.token_for(ID).await;
    let unknown_field = json!({ "csr": TestDevice::new(ID).csr, "wg_private_key": "hunter2" });
    for (body, expected) in [
        (unknown_field, (422, "invalid-field")),
        (json!({ "csr": 7 }), (422, "invalid-field")),
        (json!([]), (400, "malformed-json")),
    ] {
        let stranger = world.enroll(ID, "ibt_guess", &body).await;
        let neighbour = world.enroll(ID, &world.token_for("pump-8").await, &body).await;
        let owner = world.enroll(ID, &token, &body).await;

        assert_eq!(stranger.status_and_slug(), (401, "unauthenticated".to_owned()));
        assert_eq!(neighbour.status_and_slug(), (403, "device-mismatch".to_owned()));
        assert_eq!(owner.status_and_slug(), (expected.0, expected.1.to_owned()));
    }

    let listed = world.admin("GET", "/enrollment-tokens").await.json();
    let mut tokens = listed["tokens"].as_array().unwrap().iter();
    let own = tokens.find(|listed| listed["id_pattern"] == ID).unwrap();
    assert_eq!((&own["used"], &own["refused"]), (&json!(0), &json!(3)));
    let records = world.admin("GET", "/audit?device_id=pump-7").await.json();
    let records = records["records"].as_array().unwrap().iter();
    let unreadable = records.filter(|record| record["detail"]["reason"] == "request_unreadable");
    assert_eq!(unreadable.count(), 3);
}

#[tokio::test]
async fn an_access_token_that_is_not_believed_is_an_invalid_token() {
    let world = World::new().await;
    let bad = world.ask("GET", "/devices", Some("a.b.c"), None).await;
    let none = world.ask("GET", "/devices", None, None).await;

    assert_eq!(bad.status_and_slug(), (401, "invalid-token".to_owned()));
    assert_eq!(none.status_and_slug(), (401, "invalid-token".to_owned()), "B-120");
}

async fn play(place: Place) {
    let mut stages = HashMap::new();
    let mut surprises = Vec::new();
    for (number, row) in rows().iter().enumerate() {
        let network = row.network.clone().unwrap_or_else(|| USUAL_NETWORK.to_owned());
        if !stages.contains_key(&network) {
            stages.insert(network.clone(), Stage::new(place, &network).await);
        }
        if let Err(surprise) = (Game {
            stage: &stages[&network],
            row,
            number,
        })
        .play()
        .await
        {
            surprises.push(format!("{} {}: {surprise}", row.number, row.name));
        }
    }
    assert!(surprises.is_empty(), "{place:?}:\n{}", surprises.join("\n"));
    for stage in stages.values() {
        says_nothing_secret(stage);
    }
}

/// Neither what was sent by mistake nor what lets anybody in is in the log, at its most talkative; nor is anything that
/// moves the cursor of whoever reads it.
fn says_nothing_secret(stage: &Stage) {
    let log = stage.log();
    for secret in stage.secrets() {
        assert!(!log.contains(&secret), "the log has {secret}");
    }
    assert!(!log.contains("hunter2"));
    for control in ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}'] {
        assert!(!log.contains(control), "the log has {control:?} as it is");
    }
}

/// A row on its stage.
struct Game<'a> {
    stage: &'a Stage,
    row: &'a Row,
    number: usize,
}

impl Game<'_> {
    async fn play(&self) -> Result<(), String> {
        let mut values = Values::new(self.stage, self.row, self.number);
        let mut same = None;
        for (index, step) in self.row.steps.iter().enumerate() {
            if let Some(mood) = &step.authority {
                self.stage.authority().is_called(mood);
            }
            for copy in 0..step.before {
                self.send(step, &mut values, copy).await.await;
            }
            let mut sent = Vec::new();
            for copy in 0..step.at_once {
                sent.push(self.send(step, &mut values, copy).await);
            }
            let replies = futures_util::future::join_all(sent).await;
            judge(step, &replies, &mut same).map_err(|surprise| format!("step {}: {surprise}", index + 1))?;
        }
        Ok(())
    }

    /// Prepares a request; it is sent when the answer is waited for. Each row comes from an address of its own.
    async fn send(&self, step: &Step, values: &mut Values<'_>, copy: usize) -> impl Future<Output = Reply> + use<> {
        let address = u8::try_from(self.number / 250).unwrap();
        let client = Ipv4Addr::new(127, 1, address, u8::try_from(self.number % 250 + 1).unwrap());
        let path = values.fill(&step.path, copy);
        let headers: Vec<String> = step.headers.iter().map(|header| values.fill(header, copy)).collect();
        let body = match (&step.body, &step.hex) {
            (_, Some(hex)) => hex_bytes(hex),
            (Value::Null, None) => Vec::new(),
            (Value::String(text), None) => values.fill(text, copy).into_bytes(),
            (body, None) => values.fill_json(body, copy).to_string().into_bytes(),
        };
        let raw = step.raw.as_ref().map(|raw| values.fill(raw, copy).into_bytes());
        let identity = step.certificate.as_ref().map(|name| self.stage.identity(name));
        let (method, plain, tls) = (step.method.clone(), self.stage.plain, self.stage.tls);
        async move {
            if let Some(identity) = identity {
                let client = Client::builder()
                    .identity(identity)
                    .local_address(std::net::IpAddr::V4(client));
                let client = client.tls_danger_accept_invalid_certs(true).no_proxy().build().unwrap();
                let url = format!("https://{tls}{path}");
                let mut request = client.request(method.parse().unwrap(), url).body(body);
                for (name, value) in headers.iter().filter_map(|header| header.split_once(": ")) {
                    request = request.header(name, value);
                }
                return reply(request.send().await).await;
            }
            let head: String = headers.iter().flat_map(|header| [header.as_str(), "\r\n"]).collect();
            let length = body.len();
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: {plain}\r\nconnection: close\r\ncontent-length: {length}\r\n{head}\r\n"
            );
            let request = raw.unwrap_or_else(|| [head.into_bytes(), body].concat());
            exchange(plain, client, &request).await
        }
    }
}

async fn reply(response: reqwest::Result<reqwest::Response>) -> Reply {
    let Ok(response) = response else {
        return Reply::default();
    };
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    Reply {
        status: response.status().as_u16(),
        headers: headers.collect(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

/// Holds what came back against what is written.
fn judge(step: &Step, replies: &[Reply], same: &mut Option<Value>) -> Result<(), String> {
    let mut expected = 0;
    for reply in replies {
        careful(reply)?;
        let answer = answer(reply);
        if answer == step.answer {
            expected += 1;
        } else if !step.others.contains(&answer) {
            return Err(format!(
                "{answer:?} instead of {:?}: {}",
                step.answer,
                String::from_utf8_lossy(&reply.body)
            ));
        }
        let field = step.same.as_ref().map(|name| json_of(reply)[name].clone());
        if let Some(value) = field.filter(|value| !value.is_null())
            && *same.get_or_insert_with(|| value.clone()) != value
        {
            return Err("another answer than before".to_owned());
        }
    }
    let only_one = replies.len() > 1 && !step.others.contains(&step.answer);
    if only_one && expected != 1 {
        return Err(format!("{expected} answers of the kind that one gets"));
    }
    Ok(())
}

/// What every refusal has, whatever it is about.
fn careful(reply: &Reply) -> Result<(), String> {
    if reply.status < 400 {
        return Ok(());
    }
    let required = match reply.status {
        401 => Some("www-authenticate"),
        405 => Some("allow"),
        429 | 503 => Some("retry-after"),
        _ => None,
    };
    if let Some(name) = required.filter(|name| reply.header(name).is_none()) {
        return Err(format!("{} without {name}", reply.status));
    }
    if reply.status >= 500 && reply.status != 502 && reply.status != 503 && reply.status != 504 {
        return Err(format!("{}: {}", reply.status, String::from_utf8_lossy(&reply.body)));
    }
    Ok(())
}

fn answer(reply: &Reply) -> Answer {
    let body = json_of(reply);
    let kind = body["type"].as_str().unwrap_or_default();
    let slug = kind.strip_prefix("urn:iot-bridge:problem:").unwrap_or_default();
    Answer {
        status: reply.status,
        slug: slug.to_owned(),
        code: body["code"].as_str().unwrap_or_default().to_owned(),
    }
}

fn json_of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

fn hex_bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
