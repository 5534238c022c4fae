//! The table as it is written down.

use serde::Deserialize;
use serde_json::Value;

/// The data file; it is this service's part of a list that other implementations may play as well.
const TABLE: &str = include_str!("../../../../../tests/bad-inputs/enrollment.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(rename = "about")]
    _about: Vec<String>,
    rows: Vec<Row>,
}

/// One kind of bad request, and what is answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// How people talk about it.
    #[serde(rename = "row")]
    pub(crate) number: String,
    pub(crate) name: String,
    /// The device; one that no other row has, unless the row names it.
    #[serde(default)]
    pub(crate) id: Option<String>,
    /// A request that no tool makes: base64 of its DER. It is what `{csr}` stands for.
    #[serde(default)]
    pub(crate) csr: Option<String>,
    /// The address range, where the usual one is too large.
    #[serde(default)]
    pub(crate) network: Option<String>,
    pub(crate) steps: Vec<Step>,
}

/// One request, and its answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// What the certificate authority is up to from here on.
    #[serde(default)]
    pub(crate) authority: Option<String>,
    #[serde(default = "post")]
    pub(crate) method: String,
    #[serde(default = "enroll")]
    pub(crate) path: String,
    #[serde(default = "usual_headers")]
    pub(crate) headers: Vec<String>,
    /// An object is sent as JSON, a text as it is.
    #[serde(default)]
    pub(crate) body: Value,
    /// A body that is no text, in hex.
    #[serde(default)]
    pub(crate) hex: Option<String>,
    /// Everything that is sent, instead of all above.
    #[serde(default)]
    pub(crate) raw: Option<String>,
    /// The client certificate; its requests go to the TLS listener.
    #[serde(default)]
    pub(crate) certificate: Option<String>,
    /// How often it is sent before the one that counts.
    #[serde(default)]
    pub(crate) before: usize,
    /// How often it is sent at the same time.
    #[serde(default = "once")]
    pub(crate) at_once: usize,
    /// What is answered; of several at the same time, to one of them.
    pub(crate) answer: Answer,
    /// What may be answered to the others.
    #[serde(default)]
    pub(crate) others: Vec<Answer>,
    /// A field that has the same value in every answer of the row.
    #[serde(default)]
    pub(crate) same: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// 0: none, the connection ends.
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) slug: String,
    #[serde(default)]
    pub(crate) code: String,
}

pub(crate) fn rows() -> Vec<Row> {
    let table: Table = serde_json::from_str(TABLE).unwrap();
    table.rows
}

fn post() -> String {
    "POST".to_owned()
}

fn enroll() -> String {
    "/devices/{id}/enroll".to_owned()
}

fn usual_headers() -> Vec<String> {
    ["authorization: Bearer {token}", "content-type: application/json"]
        .map(str::to_owned)
        .to_vec()
}

fn once() -> usize {
    1
}
