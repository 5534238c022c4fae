//! What an operator does at hawkBit: brings software in, and gives it to a device.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Hawkbit;
use crate::failure::{Failure, ensure};

/// Stands in no bundle.
const BOUNDARY: &str = "--------------------------a-boundary-of-a-scenario";

impl Hawkbit {
    /// Brings a file in as a distribution set of its own; returns the set's number.
    pub(crate) async fn distribute(&self, name: &str, file: Vec<u8>) -> Result<i64, Failure> {
        let module = json!([{ "name": name, "version": "1", "type": "os" }]);
        let module = self.create(&["softwaremodules"], module).await?;
        let path = ["softwaremodules", &module.to_string(), "artifacts"];
        let request = self.genuine.request(Method::POST, &path);
        let request = request.header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"));
        let answer = request.body(form(name, &file)).send().await?;
        ensure(
            answer.status() == StatusCode::CREATED,
            format_args!("upload: {}", answer.status()),
        )?;
        let set = json!([{ "name": name, "version": "1", "type": "os", "modules": [{ "id": module }] }]);
        self.create(&["distributionsets"], set).await
    }

    /// Gives a distribution set to a device; returns the action's number.
    pub(crate) async fn assign(&self, id: &str, set: i64) -> Result<i64, Failure> {
        let body = json!([{ "id": set, "type": "forced" }]);
        let (status, answer) = self
            .ask(Method::POST, &["targets", id, "assignedDS"], Some(body))
            .await?;
        let number = answer["assignedActions"][0]["id"].as_i64();
        number.ok_or_else(|| Failure::new(format_args!("not assigned: {status} {answer}")))
    }

    async fn create(&self, path: &[&str], body: Value) -> Result<i64, Failure> {
        let (status, answer) = self.ask(Method::POST, path, Some(body)).await?;
        let number = answer[0]["id"].as_i64();
        number.ok_or_else(|| Failure::new(format_args!("{path:?}: {status} {answer}")))
    }
}

/// One file in a form (RFC 7578).
fn form(name: &str, file: &[u8]) -> Vec<u8> {
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}.raucb\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    [head.as_bytes(), file, format!("\r\n--{BOUNDARY}--\r\n").as_bytes()].concat()
}
