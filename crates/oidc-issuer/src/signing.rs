use std::sync::{Arc, RwLock};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use pem_rfc7468::LineEnding;
use serde_json::Value;

/// The keys of the issuer: one signs, the ones before it still verify until they are retired.
///
/// Keycloak does the same when a key provider of higher priority is added.
pub(crate) struct KeyRing {
    /// The newest is the first.
    keys: RwLock<Vec<Arc<SigningKey>>>,
}

/// An RSA key pair for RS256, Keycloak's default.
struct SigningKey {
    private: EncodingKey,
    /// The public half as it is published; its id is its thumbprint (RFC 7638).
    public: Jwk,
    header: Header,
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
        let newest = self.keys.read().expect(NO_PANIC).first().cloned();
        let newest = newest.expect("there is always a key");
        encode(&newest.header, claims, &newest.private).expect("the key is an RSA key of ours")
    }

    /// Reads the claims of a token that one of the keys signed, whatever they say.
    pub(crate) fn read_own(&self, token: &str) -> Option<Value> {
        let keys = self.keys.read().expect(NO_PANIC).clone();
        keys.iter().find_map(|key| key.read(token))
    }

    /// Returns the public halves (RFC 7517 §5).
    pub(crate) fn jwks(&self) -> JwkSet {
        let keys = self.keys.read().expect(NO_PANIC);
        JwkSet {
            keys: keys.iter().map(|key| key.public.clone()).collect(),
        }
    }
}

const NO_PANIC: &str = "nothing panics while it holds the keys";

impl SigningKey {
    const ALGORITHM: Algorithm = Algorithm::RS256;

    fn generate() -> Self {
        let private = generate_rsa_key().expect("an RSA key of 2048 bits can always be made");
        let mut public =
            Jwk::from_encoding_key(&private, Self::ALGORITHM).expect("every private key has a public half");
        let id = public
            .thumbprint(ThumbprintHash::SHA256)
            .expect("RSA keys have thumbprints");
        public.common.key_id = Some(id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let header = Header {
            kid: Some(id),
            ..Header::new(Self::ALGORITHM)
        };
        Self {
            private,
            public,
            header,
        }
    }

    fn read(&self, token: &str) -> Option<Value> {
        let mut whatever_it_says = Validation::new(Self::ALGORITHM);
        whatever_it_says.required_spec_claims.clear();
        whatever_it_says.validate_exp = false;
        whatever_it_says.validate_aud = false;
        let key = DecodingKey::from_jwk(&self.public).ok()?;
        Some(decode(token, &key, &whatever_it_says).ok()?.claims)
    }
}

fn generate_rsa_key() -> Option<EncodingKey> {
    let pkcs8 = KeyPair::generate(KeySize::Rsa2048).ok()?.as_der().ok()?;
    let pem = pem_rfc7468::encode_string("PRIVATE KEY", LineEnding::LF, pkcs8.as_ref()).ok()?;
    // PEM, because the library takes the DER of a PKCS #8 key for PKCS #1's.
    EncodingKey::from_rsa_pem(pem.as_bytes()).ok()
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_key_signs_and_the_old_ones_verify_until_they_are_retired() {
        let ring = KeyRing::new();
        let claims = json!({"sub": "olga"});
        let old = ring.sign(&claims);

        ring.rotate();
        let new = ring.sign(&claims);
        assert_eq!(ring.read_own(&old), Some(claims.clone()));
        assert_eq!(ring.jwks().keys.len(), 2);

        ring.retire_old();
        assert_eq!(ring.read_own(&old), None);
        assert_eq!(ring.read_own(&new), Some(claims));
    }
}
