//! The text of an enrollment token: how it is made, recognised and remembered.
//!
//! `ibt_` and 56 characters of base64url: 32 random bytes and 10 bytes of a keyed check. The check lets us refuse
//! a guess before any of the request is parsed and before the database is asked. The database holds only
//! HMAC-SHA-256 of the whole under a key that is not in the database.

use std::fmt;

use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::domain::Digest;
use secrecy::{ExposeSecret, SecretString};

use super::seal::Seal;

const PREFIX: &str = "ibt_";
const RANDOM_LENGTH: usize = 32;
const CHECK_LENGTH: usize = 10;

/// The key under which tokens are remembered; whoever has it and the database still has no token.
pub struct TokenPepper {
    check_key: hmac::Key,
    lookup_key: hmac::Key,
    seal: [u8; Seal::KEY_LENGTH],
}

/// The pepper is too short to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token pepper must have at least 32 characters, from a random generator")]
pub struct WeakPepper;

impl TokenPepper {
    /// Shortest pepper, in bytes.
    pub const MIN_LENGTH: usize = 32;

    /// Takes a secret of the configuration.
    pub fn new(secret: &SecretString) -> Result<Self, WeakPepper> {
        let secret = secret.expose_secret().as_bytes();
        if secret.len() < Self::MIN_LENGTH {
            return Err(WeakPepper);
        }
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derive = |purpose: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, purpose).as_ref());
        let seal = hmac::sign(&root, b"seal of device secrets");
        Ok(Self {
            check_key: derive(b"token check"),
            lookup_key: derive(b"token lookup"),
            seal: seal.as_ref().try_into().expect("SHA-256 has 32 bytes"),
        })
    }

    /// Returns what secrets of devices are sealed with; a new pepper ends them as it ends tokens.
    pub(crate) fn seal(&self) -> Seal {
        Seal::new(&self.seal)
    }

    /// Makes a token: its text, to be shown once, and what is stored of it.
    pub fn generate(&self) -> (SecretString, TokenDigest) {
        let mut bytes = [0; RANDOM_LENGTH + CHECK_LENGTH];
        let (random, check) = bytes.split_at_mut(RANDOM_LENGTH);
        rand::fill(random).expect("the operating system gives randomness");
        check.copy_from_slice(&self.check(random));
        let digest = self.digest(&bytes);
        (
            SecretString::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))),
            digest,
        )
    }

    /// Recognises a text as one of our tokens; whether it is still good, the registry knows.
    pub fn recognise(&self, text: &str) -> Option<TokenDigest> {
        let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?;
        let (random, check) = bytes.split_at_checked(RANDOM_LENGTH)?;
        constant_time::verify_slices_are_equal(check, &self.check(random)).ok()?;
        Some(self.digest(&bytes))
    }

    fn check(&self, random: &[u8]) -> [u8; CHECK_LENGTH] {
        let tag = hmac::sign(&self.check_key, random);
        *tag.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
    }

    fn digest(&self, token: &[u8]) -> TokenDigest {
        let tag = hmac::sign(&self.lookup_key, token);
        TokenDigest(Digest(tag.as_ref().try_into().expect("SHA-256 has 32 bytes")))
    }
}

impl fmt::Debug for TokenPepper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenPepper(…)")
    }
}

/// What remains of a token that was presented: proof that we made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenDigest(Digest);

impl TokenDigest {
    /// Returns what the registry finds it by.
    pub fn as_digest(&self) -> &Digest {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(text: &str) -> TokenPepper {
        TokenPepper::new(&SecretString::from(text.repeat(32))).unwrap()
    }

    #[test]
    fn a_token_is_recognised_by_the_pepper_that_made_it() {
        let (text, digest) = pepper("a").generate();

        assert_eq!(text.expose_secret().len(), 60);
        assert_eq!(pepper("a").recognise(text.expose_secret()), Some(digest));
        assert_eq!(pepper("b").recognise(text.expose_secret()), None);
    }

    #[test]
    fn a_text_that_is_not_ours_is_not_recognised() {
        let pepper = pepper("a");
        let (text, _) = pepper.generate();
        let text = text.expose_secret();
        let (shorter, longer) = (text.get(..text.len() - 1).unwrap(), format!("{text}AAAA"));
        for bad in [
            "",
            "ibt_",
            "ibt_AAAA",
            text.trim_start_matches('i'),
            shorter,
            &text.to_uppercase(),
            &longer,
        ] {
            assert_eq!(pepper.recognise(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_tokens_differ() {
        let pepper = pepper("a");
        assert_ne!(pepper.generate().1, pepper.generate().1);
    }

    #[test]
    fn a_short_pepper_is_refused() {
        assert!(TokenPepper::new(&SecretString::from("x".repeat(31))).is_err());
    }
}
