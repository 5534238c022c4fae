use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::chassis::json;

/// The signature algorithms that are believed (RFC 7518 §3.1); symmetric ones never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, Keycloak's default.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// Reads the `alg` of a header or a key; case counts (RFC 7515 §4.1.1).
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// Where the issuer's keys come from.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// Finds the key of this id; without an id, the only key there is.
    async fn find(
        &self,
        key_id: Option<&str>,
    ) -> Result<Option<Arc<VerificationKey>>, KeysUnavailable>;
}

/// No keys are at hand, so that the question cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys are not available")]
pub struct KeysUnavailable;

/// A public key together with the one algorithm that it is for (RFC 8725 §3.1).
pub struct VerificationKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

impl VerificationKey {
    /// Returns the algorithm that the key is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the signature over the message was made with this key's private half.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VerificationKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The usable keys of a JWK set (RFC 7517 §5).
#[derive(Debug)]
pub struct KeySet {
    by_id: HashMap<String, Arc<VerificationKey>>,
}

/// The document is no set of keys that can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySet {
    /// It is no JWK set, or members occur twice in it.
    #[error("the document is not a strict JWK set")]
    Malformed,
    /// Two keys share an id, so that a `kid` does not say which one signed.
    #[error("two keys of the set share an id")]
    DuplicateKeyId,
    /// No key of it can verify a token.
    #[error("the set has no usable signature key")]
    NoUsableKey,
}

/// Longest key id, in bytes; a `kid` is compared, never interpreted.
pub(super) const MAX_KEY_ID_LENGTH: usize = 128;

/// Smallest RSA modulus, in bits (RFC 7518 §3.3).
const MIN_RSA_BITS: usize = 2048;

impl KeySet {
    /// Reads a JWK set and keeps the keys that may verify tokens: with an id, for signatures, RSA from 2048
    /// bits or P-256. Others (Keycloak's encryption key, curves and kinds to come, symmetric keys) are left out.
    pub fn parse(document: &[u8]) -> Result<Self, InvalidKeySet> {
        let mut document: Map<String, Value> =
            json::parse(document).map_err(|_| InvalidKeySet::Malformed)?;
        let Some(Value::Array(jwks)) = document.remove("keys") else {
            return Err(InvalidKeySet::Malformed);
        };
        let jwks: Vec<_> = jwks.iter().filter_map(Value::as_object).collect();
        let mut ids = HashSet::new();
        if !jwks
            .iter()
            .filter_map(|jwk| text(jwk, "kid"))
            .all(|id| ids.insert(id))
        {
            return Err(InvalidKeySet::DuplicateKeyId);
        }
        let usable = jwks.iter().filter_map(|jwk| usable_key(jwk));
        let by_id: HashMap<_, _> = usable
            .map(|(id, key)| (id.to_owned(), Arc::new(key)))
            .collect();
        if by_id.is_empty() {
            Err(InvalidKeySet::NoUsableKey)
        } else {
            Ok(Self { by_id })
        }
    }

    /// Finds the key of this id; without an id, the only key of the set.
    pub fn find(&self, key_id: Option<&str>) -> Option<Arc<VerificationKey>> {
        match key_id {
            Some(id) => self.by_id.get(id).cloned(),
            None if self.by_id.len() == 1 => self.by_id.values().next().cloned(),
            None => None,
        }
    }
}

/// Keys that never change, for tests and for issuers of the same process.
#[derive(Debug)]
pub struct FixedKeys(pub KeySet);

#[async_trait]
impl KeySource for FixedKeys {
    async fn find(
        &self,
        key_id: Option<&str>,
    ) -> Result<Option<Arc<VerificationKey>>, KeysUnavailable> {
        Ok(self.0.find(key_id))
    }
}

fn usable_key(jwk: &Map<String, Value>) -> Option<(&str, VerificationKey)> {
    let id = text(jwk, "kid").filter(|id| id.len() <= MAX_KEY_ID_LENGTH)?;
    if jwk.contains_key("use") && text(jwk, "use") != Some("sig") {
        return None;
    }
    let key = match text(jwk, "kty")? {
        "RSA" => VerificationKey {
            algorithm: Algorithm::Rs256,
            key: rsa_key(jwk)?,
        },
        "EC" => VerificationKey {
            algorithm: Algorithm::Es256,
            key: p256_key(jwk)?,
        },
        _ => return None,
    };
    let names_other_algorithm = jwk.contains_key("alg")
        && text(jwk, "alg").and_then(Algorithm::parse) != Some(key.algorithm);
    (!names_other_algorithm).then_some((id, key))
}

fn rsa_key(jwk: &Map<String, Value>) -> Option<ParsedPublicKey> {
    let (n, e) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    if bits < MIN_RSA_BITS {
        return None;
    }
    RsaPublicKeyComponents { n, e }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .ok()
}

fn p256_key(jwk: &Map<String, Value>) -> Option<ParsedPublicKey> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if text(jwk, "crv") != Some("P-256") || x.len() != 32 || y.len() != 32 {
        return None;
    }
    let uncompressed_point = [&[0x04], x.as_slice(), y.as_slice()].concat(); // SEC 1 §2.3.3
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, uncompressed_point).ok()
}

fn text<'jwk>(jwk: &'jwk Map<String, Value>, name: &str) -> Option<&'jwk str> {
    jwk.get(name)?.as_str()
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(jwk, name)?).ok()
}
