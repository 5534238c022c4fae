//! The issuer's keys, as they come from its address.

use std::time::Duration;

use common::chassis::token::KeySet;

/// What reading a set may take.
const LIMIT: Duration = Duration::from_millis(50);

/// Reads the bytes as a key set; what was read is found under its own ids only.
pub fn check(bytes: &[u8]) {
    if let Ok(keys) = crate::within(LIMIT, || KeySet::parse(bytes)) {
        for id in [None, Some(""), Some("a"), Some("../../dev/null")] {
            drop(keys.find(id));
        }
    }
}
