//! The table as it is written down.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The data file; it is this service's part of a list that other implementations may play as well.
const TABLE: &str = include_str!("../../../../../tests/bad-inputs/terminal.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "about")]
    _about: Vec<String>,
    rows: Vec<Row>,
}

/// One kind of bad input, and what is answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// How people talk about it.
    #[serde(rename = "row")]
    pub(super) number: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) steps: Vec<Step>,
    /// Tests that play it on a stage of their own: with a clock that is moved, another limit, a disk that is full.
    #[serde(default)]
    pub(super) tests: Vec<String>,
}

/// One request, and its answer or the session that comes of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    #[serde(default = "open_terminal")]
    pub(super) request: String,
    #[serde(default = "usual_headers")]
    pub(super) headers: Vec<String>,
    /// Instead of the lines that ask for a WebSocket.
    #[serde(default)]
    pub(super) upgrade: Option<String>,
    /// What `{token}` stands for.
    #[serde(default)]
    pub(super) token: Forgery,
    /// What `{ticket}` stands for: a good one, for this device and page.
    #[serde(default)]
    pub(super) ticket: Option<TicketWish>,
    /// How often it is sent before the one that counts.
    #[serde(default)]
    pub(super) before: usize,
    /// What the device is like from here on.
    #[serde(default)]
    pub(super) device: Option<String>,
    /// Any of these is a careful answer.
    #[serde(default)]
    pub(super) answers: Vec<Answer>,
    /// The answer is that of the step before, word for word.
    #[serde(default)]
    pub(super) same: bool,
    /// The request is good, and what follows is not.
    #[serde(default)]
    pub(super) session: Option<Session>,
}

impl Step {
    pub(super) fn needs_device(&self) -> bool {
        self.session.is_some() || self.device.is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) slug: String,
}

/// A token of the operator, with changes; a null takes a member away.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Forgery {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// Written behind the claims, inside of their object: `"aud":"terminal-proxy"`, for example.
    pub(super) more_claims: String,
    pub(super) signature: Signature,
    /// Instead of a token.
    pub(super) text: Option<String>,
}

/// What a token is signed with.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Signature {
    /// The issuer's key.
    #[default]
    Good,
    /// Nothing.
    None,
    /// A key that the issuer does not have.
    OtherKey,
    /// HS256 with the issuer's public key as PEM, as DER, with its modulus.
    PublicPem,
    PublicDer,
    Modulus,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TicketWish {
    pub(super) device: String,
    #[serde(default)]
    pub(super) origin: Option<String>,
}

/// An open terminal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Session {
    pub(super) send: Vec<Sent>,
    /// How it ends; when it does not, what is typed afterwards comes back.
    #[serde(default)]
    pub(super) closed: Option<Vec<Close>>,
    /// What the device heard in between.
    #[serde(default)]
    pub(super) heard: Vec<String>,
}

/// Bytes on the wire.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    /// In hex.
    #[serde(default)]
    hex: Option<String>,
    /// A binary message as a browser frames it.
    #[serde(default)]
    message: Option<String>,
    /// So many letters `x` behind the message.
    #[serde(default)]
    letters: usize,
    #[serde(default = "once")]
    pub(super) times: usize,
}

impl Sent {
    pub(super) fn bytes(&self) -> Vec<u8> {
        if let Some(hex) = &self.hex {
            let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let pairs = digits.chunks(2);
            return pairs
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
        }
        let mut message = self.message.clone().unwrap_or_default().into_bytes();
        message.resize(message.len() + self.letters, b'x');
        super::wire::browser_frame(&message)
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

pub(super) fn rows() -> Vec<Row> {
    let table: Table = serde_json::from_str(TABLE).unwrap();
    table.rows
}

fn open_terminal() -> String {
    "GET /terminal/pump-1 HTTP/1.1".to_owned()
}

fn usual_headers() -> Vec<String> {
    vec!["authorization: Bearer {token}".to_owned()]
}

fn once() -> usize {
    1
}
