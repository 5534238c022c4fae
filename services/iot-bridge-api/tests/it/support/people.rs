//! An issuer of access tokens.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::chassis::token::{FixedKeys, KeySet, RoleNames, TokenRules, TokenVerifier};
use common::domain::{Clock, Timestamp};
use serde_json::{Value, json};

pub(crate) struct People(EcdsaKeyPair);

impl People {
    /// Who vouches for them.
    pub(crate) const ISSUER: &str = "https://login.example.com/realms/iot";

    pub(crate) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// The keys that their tokens are verified with.
    pub(crate) fn jwks(&self) -> Value {
        let point = self.0.public_key().as_ref();
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1",
            "x": coordinate(&point[1..33]), "y": coordinate(&point[33..]),
        });
        json!({ "keys": [jwk] })
    }

    pub(crate) fn verifier(&self, clock: Arc<dyn Clock>) -> TokenVerifier {
        let keys = KeySet::parse(self.jwks().to_string().as_bytes()).unwrap();
        let rules = TokenRules {
            issuer: Self::ISSUER.to_owned(),
            audience: "iot-bridge-api".to_owned(),
            authorized_parties: vec!["iot-bridge".to_owned()],
            roles: RoleNames::default(),
            max_lifetime: TokenRules::DEFAULT_MAX_LIFETIME,
            leeway: Duration::ZERO,
        };
        TokenVerifier::new(rules, Arc::new(FixedKeys(keys)), clock).unwrap()
    }

    /// Vouches for a person with a role and groups.
    pub(crate) fn token(&self, now: Timestamp, role: &str, groups: &[&str]) -> String {
        let now = now.unix_timestamp();
        let claims = json!({
            "iss": Self::ISSUER, "aud": "iot-bridge-api", "sub": "42", "azp": "iot-bridge", "typ": "Bearer",
            "iat": now, "exp": now + 300, "preferred_username": "ada",
            "realm_access": { "roles": [role] }, "groups": groups,
        });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&json!({ "alg": "ES256", "kid": "1" })), encode(&claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
