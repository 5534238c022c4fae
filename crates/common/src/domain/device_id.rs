use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The one name of a device: certificate CN, WireGuard peer name, ThingsBoard device name, hawkBit
/// controller id.
///
/// Grammar: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`, a DNS label (RFC 1123) in lower case, so that it is
/// safe in URLs, certificates and file names. A value that exists is proof of the check.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(String);

/// The text is not a device id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a device id is 1 to 63 characters of a-z, 0-9 and '-', and neither starts nor ends with '-'")]
pub struct InvalidDeviceId;

impl DeviceId {
    /// Longest device id, in bytes (RFC 1035 §2.3.4).
    pub const MAX_LENGTH: usize = 63;

    /// Reads a device id; nothing is trimmed, folded or decoded.
    pub fn parse(text: &str) -> Result<Self, InvalidDeviceId> {
        let bytes = text.as_bytes();
        let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err(InvalidDeviceId);
        };
        if bytes.len() > Self::MAX_LENGTH || *first == b'-' || *last == b'-' || !bytes.iter().all(allowed) {
            return Err(InvalidDeviceId);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl FromStr for DeviceId {
    type Err = InvalidDeviceId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for DeviceId {
    type Error = InvalidDeviceId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<DeviceId> for String {
    fn from(id: DeviceId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_grammar_are_accepted() {
        for text in ["a", "7", "pump-7", "a--b", &"x".repeat(63)] {
            assert_eq!(DeviceId::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let too_long = "x".repeat(64);
        let bad = [
            "",
            "-",
            "-a",
            "a-",
            "A",
            "pump_7",
            "a b",
            " a",
            "a\n",
            "..",
            "a/b",
            "a%2f",
            "ä",
            "a\0b",
            "\u{202e}a",
            &too_long,
        ];
        for text in bad {
            assert_eq!(DeviceId::parse(text), Err(InvalidDeviceId), "{text:?}");
        }
    }
}
