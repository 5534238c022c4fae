use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{DecodingKey, DecodingKeyKind, crypto};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::TokenError;
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

    /// What the library calls it; its own list has symmetric algorithms too.
    fn jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
        }
    }
}

/// Where the issuer's keys come from.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// Finds the key of this id; without an id, the only key there is.
    async fn find(&self, key_id: Option<&str>) -> Result<Option<Arc<VerificationKey>>, KeysUnavailable>;
}

/// No keys are at hand, so that the question cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the issuer's keys are not available")]
pub struct KeysUnavailable;

/// A public key together with the one algorithm that it is for (RFC 8725 §3.1).
pub struct VerificationKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl VerificationKey {
    /// Returns the algorithm that the key is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Checks that a signature, in base64url, over the message was made with this key's private half.
    pub(super) fn verify(&self, message: &[u8], signature: &str) -> Result<(), TokenError> {
        match crypto::verify(signature, message, &self.key, self.algorithm.jose()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TokenError::Invalid("the signature does not match")),
            // The key is of the algorithm's family, so that this is about the signature's text.
            Err(_) => Err(TokenError::Invalid("not base64url")),
        }
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

/// Length of `x` and `y` of a P-256 key: 32 bytes in base64url (RFC 7518 §6.2.1.2).
const P256_COORDINATE_LENGTH: usize = 43;

impl KeySet {
    /// Reads a JWK set and keeps the keys that may verify tokens: with an id, for signatures, RSA from 2048
    /// bits or P-256. Others (Keycloak's encryption key, curves and kinds to come, symmetric keys) are left out.
    pub fn parse(document: &[u8]) -> Result<Self, InvalidKeySet> {
        let mut document: Map<String, Value> = json::parse(document).map_err(|_| InvalidKeySet::Malformed)?;
        let Some(Value::Array(jwks)) = document.remove("keys") else {
            return Err(InvalidKeySet::Malformed);
        };
        let mut ids = HashSet::new();
        if !jwks
            .iter()
            .filter_map(|jwk| jwk.get("kid")?.as_str())
            .all(|id| ids.insert(id))
        {
            return Err(InvalidKeySet::DuplicateKeyId);
        }
        let by_id: HashMap<_, _> = jwks
            .iter()
            .filter_map(usable_key)
            .map(|(id, key)| (id, Arc::new(key)))
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
    async fn find(&self, key_id: Option<&str>) -> Result<Option<Arc<VerificationKey>>, KeysUnavailable> {
        Ok(self.0.find(key_id))
    }
}

/// Reads one key of a set, unless it is not one that may verify tokens.
fn usable_key(jwk: &Value) -> Option<(String, VerificationKey)> {
    if jwk.as_object()?.values().any(Value::is_null) {
        return None; // the library takes null for absent
    }
    let jwk = Jwk::deserialize(jwk).ok()?;
    let algorithm = algorithm(&jwk.algorithm)?;
    let key = DecodingKey::from_jwk(&jwk).ok().filter(is_sound)?;
    let id = jwk.common.key_id.filter(|id| id.len() <= MAX_KEY_ID_LENGTH)?;
    let for_signatures = jwk
        .common
        .public_key_use
        .is_none_or(|usage| usage == PublicKeyUse::Signature);
    let named = KeyAlgorithm::from(algorithm.jose());
    let for_algorithm = jwk.common.key_algorithm.is_none_or(|name| name == named);
    (for_signatures && for_algorithm).then_some((id, VerificationKey { algorithm, key }))
}

/// Which of our algorithms a key of this kind is for.
fn algorithm(parameters: &AlgorithmParameters) -> Option<Algorithm> {
    if let AlgorithmParameters::RSA(_) = parameters {
        return Some(Algorithm::Rs256);
    }
    let AlgorithmParameters::EllipticCurve(point) = parameters else {
        return None;
    };
    let whole = [&point.x, &point.y]
        .iter()
        .all(|coordinate| coordinate.len() == P256_COORDINATE_LENGTH);
    (point.curve == EllipticCurve::P256 && whole).then_some(Algorithm::Es256)
}

/// Whether signatures can be verified with the key at all: the library takes any bytes for one and would
/// find every signature wrong, so that a broken set would replace a good one.
fn is_sound(key: &DecodingKey) -> bool {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
            let components = RsaPublicKeyComponents { n, e };
            bits >= MIN_RSA_BITS && components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).is_ok()
        }
        DecodingKeyKind::SecretOrDer(point) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).is_ok(),
    }
}
