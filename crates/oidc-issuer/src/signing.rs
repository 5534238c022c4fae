use std::sync::{Arc, RwLock};

use aws_lc_rs::digest;
use aws_lc_rs::io::Positive;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKey};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The keys of the issuer: one signs, the ones before it still verify until they are retired.
///
/// Keycloak does the same when a key provider of higher priority is added.
pub(crate) struct KeyRing {
    /// The newest is the first.
    keys: RwLock<Vec<Arc<SigningKey>>>,
}

/// An RSA key pair for RS256.
struct SigningKey {
    id: String,
    pair: KeyPair,
}

impl KeyRing {
    pub(crate) fn new() -> Self {
        Self {
            keys: RwLock::new(vec![Arc::new(SigningKey::generate())]),
        }
    }

    /// Makes a new key that signs from now on.
    pub(crate) fn rotate(&self) {
        let newest = Arc::new(SigningKey::generate());
        self.keys.write().expect(NO_PANIC).insert(0, newest);
    }

    /// Forgets every key but the newest.
    pub(crate) fn retire_old(&self) {
        self.keys.write().expect(NO_PANIC).truncate(1);
    }

    /// Signs claims as a JWS in compact form (RFC 7515 §7.1).
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let newest = self
            .keys
            .read()
            .expect(NO_PANIC)
            .first()
            .cloned()
            .expect("there is always a key");
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": newest.id});
        let message = format!(
            "{}.{}",
            base64url(header.to_string()),
            base64url(claims.to_string())
        );
        let signature = newest.sign(message.as_bytes());
        format!("{message}.{}", base64url(signature))
    }

    /// Reads the claims of a token that one of the keys signed, whatever they say.
    pub(crate) fn read_own(&self, token: &str) -> Option<Value> {
        let (message, signature) = token.rsplit_once('.')?;
        let (_, claims) = message.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let keys = self.keys.read().expect(NO_PANIC).clone();
        let is_own = keys
            .iter()
            .any(|key| key.verify(message.as_bytes(), &signature));
        is_own.then(|| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok())?
    }

    /// Returns the public halves as a JWK set (RFC 7517 §5).
    pub(crate) fn jwks(&self) -> Value {
        let keys = self.keys.read().expect(NO_PANIC);
        json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
    }
}

const NO_PANIC: &str = "nothing panics while it holds the keys";

impl SigningKey {
    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048)
            .expect("an RSA key of 2048 bits can always be made");
        Self {
            id: thumbprint(pair.public_key()),
            pair,
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .expect("the buffer has the length of the modulus");
        signature
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = self.pair.public_key();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
            .verify(message, signature)
            .is_ok()
    }

    fn jwk(&self) -> Value {
        let (n, e) = components(self.pair.public_key());
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id, "n": n, "e": e})
    }
}

/// The key's id: the hash of its required members in the order of the alphabet (RFC 7638 §3).
fn thumbprint(key: &PublicKey) -> String {
    let (n, e) = components(key);
    let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    base64url(digest::digest(&digest::SHA256, members.as_bytes()))
}

fn components(key: &PublicKey) -> (String, String) {
    let bytes = |positive: Positive<'_>| base64url(positive.big_endian_without_leading_zero());
    (bytes(key.modulus()), bytes(key.exponent()))
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_key_signs_and_the_old_ones_verify_until_they_are_retired() {
        let ring = KeyRing::new();
        let claims = json!({"sub": "olga"});
        let old = ring.sign(&claims);

        ring.rotate();
        let new = ring.sign(&claims);
        assert_eq!(ring.read_own(&old), Some(claims.clone()));
        assert_eq!(ring.jwks()["keys"].as_array().map(Vec::len), Some(2));

        ring.retire_old();
        assert_eq!(ring.read_own(&old), None);
        assert_eq!(ring.read_own(&new), Some(claims));
    }
}
