//! Target types: one for each type of device, made when the first device of the type appears.

use std::collections::HashMap;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use super::{Api, unexpected};
use crate::ports::UpstreamError;

/// Longest key of a target type, in characters (hawkBit's limit).
const MAX_KEY_LENGTH: usize = 64;

/// The numbers of the types that were used before.
#[derive(Debug, Default)]
pub(super) struct TargetTypes(Mutex<HashMap<String, i64>>);

#[derive(Deserialize)]
struct TypeList {
    content: Vec<Type>,
}

#[derive(Deserialize)]
struct Type {
    id: i64,
}

impl TargetTypes {
    /// Returns the number of a type, which is made when it is not there.
    pub(super) async fn ensure(&self, api: &Api, key: &str) -> Result<i64, UpstreamError> {
        let mut known = self.0.lock().await;
        if let Some(number) = known.get(key) {
            return Ok(*number);
        }
        let number = match find(api, key).await? {
            Some(number) => number,
            None => create(api, key).await?,
        };
        known.insert(key.to_owned(), number);
        Ok(number)
    }

    /// Looks for the type again when it is needed next.
    pub(super) async fn forget(&self, key: &str) {
        self.0.lock().await.remove(key);
    }
}

/// Returns the key, which is also the name, of a type of device: its letters and digits, in lower case.
pub(super) fn key(device_type: &str) -> Option<String> {
    let plain = |character: char| {
        if character.is_ascii_alphanumeric() {
            character
        } else {
            '-'
        }
    };
    let key: String = device_type
        .to_lowercase()
        .chars()
        .map(plain)
        .take(MAX_KEY_LENGTH)
        .collect();
    let key = key.trim_matches('-');
    (!key.is_empty()).then(|| key.to_owned())
}

/// The key has no character that means something in a filter.
async fn find(api: &Api, key: &str) -> Result<Option<i64>, UpstreamError> {
    let filter = format!("key=={key}");
    let list: TypeList = api
        .get(&["targettypes"], &[("q", &filter)])
        .await?
        .json(StatusCode::OK)?;
    Ok(list.content.first().map(|found| found.id))
}

async fn create(api: &Api, key: &str) -> Result<i64, UpstreamError> {
    let body = json!([{ "key": key, "name": key, "description": "Made by iot-bridge" }]);
    let answer = api.post(&["targettypes"], &body).await?;
    if answer.status != StatusCode::CONFLICT {
        answer.done()?;
    }
    let created = find(api, key).await?;
    created.ok_or_else(|| unexpected("a target type that it made is not there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_device_becomes_a_key_that_means_nothing_in_a_filter() {
        assert_eq!(key("Pump MK II").as_deref(), Some("pump-mk-ii"));
        assert_eq!(key("a==b;c,d*").as_deref(), Some("a--b-c-d"));
        assert_eq!(key("(*)"), None);
        assert_eq!(key(&"x".repeat(100)).unwrap().len(), 64);
    }
}
