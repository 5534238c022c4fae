//! The rows of `tests/bad-inputs/webhooks.json`, sent to the service in process and to the built program: both answer
//! as the rows say.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::body::Body;
use common::chassis::http_client::{self, HttpClientOptions};
use http::Request;
use reqwest::Client;
use serde_json::{Map, Value, json};

use crate::support::neighbours::{Neighbourhood, SECRET};
use crate::support::program;

const ROWS: &str = include_str!("../../../../tests/bad-inputs/webhooks.json");
const PATH: &str = "/webhooks/thingsboard";

#[tokio::test]
async fn the_service_answers_as_listed() {
    let near = Neighbourhood::good().await;
    for row in rows() {
        let (name, request) = (name(&row), row_as_request(&row, PATH));
        let answer = near.world.send(request.map(Body::from)).await;
        assert_eq!((answer.status.as_u16(), word(&answer.json())), expected(&row), "{name}");
    }
}

#[tokio::test]
async fn the_built_program_answers_as_listed() {
    let program = Program::start().await;
    for row in rows() {
        let request = row_as_request(&row, &program.url).try_into().unwrap();
        let answer = program.client.execute(request).await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.json().await.unwrap());
        assert_eq!((status, word(&body)), expected(&row), "{}", name(&row));
    }
}

fn rows() -> Vec<Value> {
    serde_json::from_str(ROWS).unwrap()
}

fn name(row: &Value) -> String {
    format!("{} {}", row["id"], row["what"])
}

fn expected(row: &Value) -> (u16, String) {
    let status = u16::try_from(row["status"].as_u64().unwrap()).unwrap();
    (status, row["word"].as_str().unwrap().to_owned())
}

/// The last part of a problem's type, or what became of the message.
fn word(body: &Value) -> String {
    let kind = body["type"].as_str().and_then(|kind| kind.rsplit(':').next());
    kind.or(body["status"].as_str()).unwrap_or_default().to_owned()
}

fn row_as_request(row: &Value, url: &str) -> Request<Vec<u8>> {
    let text = |key: &str, otherwise| row[key].as_str().unwrap_or(otherwise).to_owned();
    let mut request = Request::builder().method(text("method", "POST").as_str()).uri(url);
    request = request.header("content-type", text("content_type", "application/json"));
    request = match text("secret", "current").as_str() {
        "current" => request.header("authorization", format!("Bearer {SECRET}")),
        "wrong" => request.header("authorization", "Bearer the-secret-of-somebody-else"),
        _ => request,
    };
    if let Some(encoding) = row["content_encoding"].as_str() {
        request = request.header("content-encoding", encoding);
    }
    let body = match row["raw"].as_str() {
        Some(raw) => raw.to_owned(),
        None => whole_body(row),
    };
    request.body(body.into_bytes()).unwrap()
}

/// The body with what is too large to stand in the file.
fn whole_body(row: &Value) -> String {
    let mut body = row["body"].clone();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
    let place = |rule: &Value| rule["at"].as_str().unwrap().to_owned();
    if let Some(rule) = row.get("repeat") {
        let text = rule["text"].as_str().unwrap().repeat(number(&rule["times"]));
        *body.pointer_mut(&place(rule)).unwrap() = json!(text);
    }
    if let Some(rule) = row.get("keys") {
        let keys: Map<_, _> = (0..number(&rule["count"]))
            .map(|key| (format!("k{key}"), json!("v")))
            .collect();
        *body.pointer_mut(&place(rule)).unwrap() = Value::Object(keys);
    }
    let Some(rule) = row.get("nested") else {
        return body.to_string();
    };
    // Deeper than a JSON library likes to write.
    let depth = number(&rule["depth"]);
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    body.to_string()
        .replace("\"metadata\":{}", &format!("\"metadata\":{{\"a\":{nested}}}"))
}

/// The program with a database of its own, and nobody beside it.
struct Program {
    child: Child,
    client: Client,
    url: String,
    _folder: tempfile::TempDir,
}

impl Program {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = || {
            std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        let (port, path) = (port(), |name: &str| folder.path().join(name).display().to_string());
        let child = Command::new(program())
            .env_clear()
            .env("DATABASE_URL", format!("sqlite://{}", path("bridge.db")))
            .env("BIND", format!("127.0.0.1:{port}"))
            .env("WG_PORT", "0")
            .env("WG_SERVER_ENDPOINT", "hub.example.com:51820")
            .env("WG_PRIVATE_KEY_FILE", path("hub.key"))
            .env("TOKEN_PEPPER", "p".repeat(32))
            .env("STEP_CA_URL", "https://localhost:1")
            .env("STEP_CA_FINGERPRINT", "0".repeat(64))
            .env("STEP_CA_PROVISIONER_PASSWORD", "a password that opens nothing")
            .env("THINGSBOARD_WEBHOOK_SECRET", SECRET)
            .env("LOG_FILTER", "off")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut program = Self {
            child,
            client: http_client::build(&HttpClientOptions::default()).unwrap(),
            url: format!("http://127.0.0.1:{port}{PATH}"),
            _folder: folder,
        };
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        while program.client.get(&program.url).send().await.is_err() {
            assert_eq!(program.child.try_wait().unwrap(), None, "it has ended");
            looks.tick().await;
        }
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
