//! Keys that no device may have, because somebody else has them: printed in a manual, left in an image, stolen.

use std::collections::HashSet;

use common::domain::Digest;

/// The operator's list of such keys.
#[derive(Debug, Clone, Default)]
pub struct BlockedKeys(HashSet<Digest>);

impl BlockedKeys {
    /// Reads a list: one SHA-256 of a public key (its `SubjectPublicKeyInfo` in DER, RFC 5280 4.1.2.7) a line, in hex;
    /// what follows a `#` is for people.
    ///
    /// # Errors
    ///
    /// The number of the first line that is neither empty nor such a hash.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut keys = HashSet::new();
        for (line, number) in text.lines().zip(1_usize..) {
            let word = line.split('#').next().unwrap_or_default().trim();
            if !word.is_empty() {
                keys.insert(word.parse().map_err(|_| number)?);
            }
        }
        Ok(Self(keys))
    }

    pub(super) fn contains(&self, key: &Digest) -> bool {
        self.0.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_hash_a_line_and_words_for_people() {
        let key = Digest::of(b"a key");
        let keys = BlockedKeys::parse(&format!("# leaked\n\n{key}  # in the manual\r\n")).unwrap();
        assert!(keys.contains(&key));
        assert!(!keys.contains(&Digest::of(b"another")));
    }

    #[test]
    fn a_line_that_is_no_hash_is_named() {
        let key = Digest::of(b"a key").to_string();
        for wrong in [
            key.strip_prefix(|_: char| true).unwrap(),
            "leaked",
            &format!("{key}0"),
            &key.replacen(|_: char| true, "+", 1),
        ] {
            assert_eq!(
                BlockedKeys::parse(&format!("{key}\n{wrong}\n")).unwrap_err(),
                2,
                "{wrong}"
            );
        }
    }
}
