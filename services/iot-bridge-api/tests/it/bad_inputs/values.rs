//! What the words in braces stand for.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use serde_json::Value;

use super::row::Row;
use super::stage::Stage;
use crate::support::{TestDevice, wireguard_key};

/// The values of one row: the same word is the same value in all of its steps.
pub(crate) struct Values<'a> {
    stage: &'a Stage,
    id: String,
    csr: Option<String>,
    keys: HashMap<String, KeyPair>,
    known: HashMap<String, String>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(stage: &'a Stage, row: &Row, number: usize) -> Self {
        let csr = row.csr.as_ref().map(|text| {
            let der = STANDARD.decode(text).unwrap();
            pem_rfc7468::encode_string("CERTIFICATE REQUEST", pem_rfc7468::LineEnding::LF, &der).unwrap()
        });
        Self {
            stage,
            id: row.id.clone().unwrap_or_else(|| format!("row-{number}")),
            csr,
            keys: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// Puts the values in; `copy` is which of several at the same time this is.
    pub(crate) fn fill(&mut self, text: &str, copy: usize) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            if let Some((word, after)) = after.split_once('}').filter(|(word, _)| is_word(word)) {
                filled.push_str(&self.value(word, copy));
                rest = after;
            } else {
                filled.push('{');
                rest = after;
            }
        }
        filled + rest
    }

    pub(crate) fn fill_json(&mut self, value: &Value, copy: usize) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text, copy)),
            Value::Array(items) => items.iter().map(|item| self.fill_json(item, copy)).collect(),
            Value::Object(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, value)| (name.clone(), self.fill_json(value, copy)));
                Value::Object(fields.collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn value(&mut self, word: &str, copy: usize) -> String {
        match word {
            "id" => return self.id.clone(),
            "each" => return format!("{}-{copy}", self.id),
            "csr-of-each" => return TestDevice::new(&format!("{}-{copy}", self.id)).csr,
            "forged" => return copy.to_string(),
            "csr-again" => return self.make("csr"),
            "csr" if self.csr.is_some() => return self.csr.clone().unwrap(),
            _ => {}
        }
        if let Some(value) = self.known.get(word) {
            return value.clone();
        }
        let value = self.make(word);
        self.known.insert(word.to_owned(), value.clone());
        value
    }

    /// `csr` has the row's key and id; `csr#2` another key, `csr@b` the id with `-b` behind it, `csr#2@b` both.
    fn make(&mut self, word: &str) -> String {
        let (kind, suffix) = word
            .split_once('@')
            .map_or((word, None), |(kind, suffix)| (kind, Some(suffix)));
        let id = suffix.map_or_else(|| self.id.clone(), |suffix| format!("{}-{suffix}", self.id));
        let (kind, number) = kind.split_once('#').unwrap_or((kind, ""));
        match kind {
            "csr" => {
                let key = self
                    .keys
                    .entry(number.to_owned())
                    .or_insert_with(|| KeyPair::generate().unwrap());
                TestDevice::with_key(&id, key).csr
            }
            "csr-of-root" => TestDevice::with_key(&id, self.stage.authority().root_key()).csr,
            "csr-of-intermediate" => TestDevice::with_key(&id, self.stage.authority().intermediate_key()).csr,
            "csr-of-provisioner" => TestDevice::with_key(&id, &self.stage.authority().provisioner_key()).csr,
            "csr-of-burnt" => TestDevice::with_key(&id, &KeyPair::from_pem(&self.stage.burnt_key).unwrap()).csr,
            "private-key" => self.stage.burnt_key.clone(),
            "wg" => wireguard_key().to_base64(),
            "many-names" => "A".repeat(17 * 1024),
            "deep" => "[".repeat(100_000),
            "deep-enough" => "[".repeat(10_000),
            "long-id" => "x".repeat(64),
            "long-path" => "x".repeat(5 * 1024),
            "long-head" => "x".repeat(17 * 1024),
            "many-headers" => "x: y\r\n".repeat(101),
            known => self.stage.word(known),
        }
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'#' | b'@'))
}
