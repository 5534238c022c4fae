use std::fmt;
use std::str::FromStr;

/// The name of a network interface, safe in an argument list and in a firewall's rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InterfaceName(String);

/// The text is not such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an interface name (1 to 15 of `a-z`, `0-9`, `-` and `_`, beginning with a letter)")]
pub struct InvalidInterfaceName;

impl InterfaceName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidInterfaceName;

    /// Linux allows 15 bytes (`IFNAMSIZ` less the final zero) of almost anything; this is stricter.
    fn from_str(text: &str) -> Result<Self, InvalidInterfaceName> {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if begins_well && text.len() <= 15 && text.bytes().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidInterfaceName)
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_an_option_or_a_rule_is_refused() {
        for text in [
            "",
            "-f",
            "wg 0",
            "wg0\"",
            "wg0;",
            "wg/0",
            "wg0\n",
            "sixteen-letters-",
            "0wg",
        ] {
            assert_eq!(text.parse::<InterfaceName>(), Err(InvalidInterfaceName), "{text:?}");
        }
        assert_eq!("wg-hub_0".parse::<InterfaceName>().unwrap().as_str(), "wg-hub_0");
    }
}
