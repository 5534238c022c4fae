//! A message of the device platform's rule chain.

use std::time::Duration;

use iot_bridge_api::http::platform_event;

/// What reading a message may take.
const LIMIT: Duration = Duration::from_millis(50);

/// Tries the bytes as a message. Every refusal has a documented status; what is accepted is about one device, and
/// the same message is the same fact however often it comes.
pub fn check(bytes: &[u8]) {
    match crate::within(LIMIT, || platform_event(bytes)) {
        Ok(first) => {
            let again = platform_event(bytes).expect("what was accepted once is accepted again");
            assert_eq!(first, again, "one message, two facts");
            if let Some(event) = first {
                let text = std::str::from_utf8(bytes).expect("JSON is UTF-8");
                assert!(
                    text.contains(event.device_id.as_str()) || text.contains("\\u"),
                    "about a device that it does not name"
                );
            }
        }
        Err(problem) => {
            let known = ["malformed-json", "invalid-field", "missing-device", "invalid-device-id"];
            let is_known = known.contains(&problem.slug()) || problem.slug().contains("metadata");
            assert!(is_known, "{}", problem.slug());
        }
    }
}
