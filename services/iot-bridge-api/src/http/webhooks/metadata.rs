//! How much may come with a message, and what. Nothing of it is passed on: what other systems are told of a device is
//! the record's.

use common::chassis::problem::Problem;
use serde_json::{Map, Value};

use super::super::problem;

/// Most entries.
const MAX_ENTRIES: usize = 32;
/// Longest key, in characters.
const MAX_KEY_LENGTH: usize = 64;
/// Longest value, in characters.
const MAX_VALUE_LENGTH: usize = 256;
/// Deepest nesting of a message.
const MAX_DEPTH: usize = 32;
/// How keys begin that only we may use.
const OURS: &str = "bridge_";

/// Checks a message's metadata.
pub(super) fn check(metadata: &Map<String, Value>) -> Result<(), Problem> {
    if metadata.len() > MAX_ENTRIES || metadata.values().any(is_too_long) {
        return Err(problem::metadata_too_large());
    }
    if metadata
        .iter()
        .all(|(key, value)| is_plain_key(key) && is_plain_value(value))
    {
        Ok(())
    } else {
        Err(problem::invalid_metadata())
    }
}

/// Whether a message is nested too deep to be read; strings do not count.
pub(super) fn is_too_deep(body: &[u8]) -> bool {
    let (mut depth, mut is_in_string, mut is_escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_in_string => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b'{' | b'[' if !is_in_string => depth += 1,
            b'}' | b']' if !is_in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

fn is_too_long(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.chars().count() > MAX_VALUE_LENGTH)
}

fn is_plain_key(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_hidden = key.starts_with("__") || key.starts_with(OURS);
    (1..=MAX_KEY_LENGTH).contains(&key.len()) && key.bytes().all(plain) && !is_hidden
}

fn is_plain_value(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.chars().any(char::is_control),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_thingsboard_adds_is_taken() {
        let metadata =
            json!({ "deviceName": "pump-7", "deviceType": "Pump MK II", "ts": "1732350000000", "scope": null });
        assert!(check(metadata.as_object().unwrap()).is_ok());
    }

    #[test]
    fn keys_that_mean_something_elsewhere_are_refused() {
        for key in ["__proto__", "", "a.b", "a\nb", "bridge_state", "ä", &"k".repeat(65)] {
            let metadata = json!({ key: "x" });
            let problem = check(metadata.as_object().unwrap()).unwrap_err();
            assert_eq!(problem.slug(), "invalid-metadata", "{key:?}");
        }
        for value in [json!("a\r\nb"), json!({}), json!([1])] {
            let metadata = json!({ "k": value });
            assert_eq!(
                check(metadata.as_object().unwrap()).unwrap_err().slug(),
                "invalid-metadata"
            );
        }
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        assert!(!is_too_deep(br#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[["}"#));
        assert!(!is_too_deep(&b"[]".repeat(100)));
        assert!(is_too_deep(&b"[".repeat(33)));
    }
}
