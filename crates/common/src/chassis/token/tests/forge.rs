//! Keys that are made once a test binary, and tokens that say whatever a test wants.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::chassis::token::{FixedKeys, KeySet, RoleNames, TokenError, TokenRules, TokenVerifier};
use crate::domain::{ManualClock, Operator, Timestamp};

pub(super) const NOW: i64 = 1_800_000_000;
pub(super) const ISSUER: &str = "https://login.example/realms/fleet";

/// The issuer's key `rsa-1`.
pub(super) static RSA: LazyLock<RsaKeyPair> = LazyLock::new(rsa_key_pair);
/// A key that the issuer does not know, or not yet.
pub(super) static OTHER_RSA: LazyLock<RsaKeyPair> = LazyLock::new(rsa_key_pair);
/// The issuer's key `ec-1`.
pub(super) static EC: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());

fn rsa_key_pair() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).unwrap()
}

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The modulus out of the public key's DER (RFC 8017 §A.1.1), whose layout is the same for every such key.
pub(super) fn modulus(key: &RsaKeyPair) -> Vec<u8> {
    key.public_key().as_ref()[9..265].to_vec()
}

pub(super) fn rsa_jwk(kid: &str, key: &RsaKeyPair) -> Value {
    json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": b64(modulus(key)), "e": "AQAB"})
}

pub(super) fn ec_jwk(kid: &str, key: &EcdsaKeyPair) -> Value {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    json!({"kty": "EC", "kid": kid, "use": "sig", "alg": "ES256", "crv": "P-256", "x": b64(x), "y": b64(y)})
}

pub(super) fn jwks(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

pub(super) fn good_header() -> Value {
    json!({"alg": "RS256", "kid": "rsa-1", "typ": "JWT"})
}

pub(super) fn good_claims() -> Value {
    json!({
        "exp": NOW + 290, "iat": NOW - 10, "jti": "4a9f", "iss": ISSUER, "aud": "terminal-proxy",
        "sub": "f3b1", "typ": "Bearer", "azp": "terminal-ui", "sid": "77aa", "scope": "openid",
        "realm_access": {"roles": ["fleet-operator", "offline_access"]},
        "groups": ["/fleets/demo"], "preferred_username": "olga",
    })
}

/// Signs with the issuer's RSA key, whatever the header says.
pub(super) fn token(header: &Value, claims: &Value) -> String {
    token_of_text(&header.to_string(), &claims.to_string())
}

pub(super) fn token_of_text(header: &str, claims: &str) -> String {
    signed(header, claims, |message| rsa_signature(&RSA, message))
}

pub(super) fn signed(header: &str, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", b64(signature))
}

pub(super) fn rsa_signature(key: &RsaKeyPair, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
        .unwrap();
    signature
}

pub(super) fn ec_signature(message: &[u8]) -> Vec<u8> {
    EC.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

pub(super) fn rules() -> TokenRules {
    TokenRules {
        issuer: ISSUER.to_owned(),
        audience: "terminal-proxy".to_owned(),
        authorized_parties: vec!["terminal-ui".to_owned()],
        roles: RoleNames::default(),
        max_lifetime: Duration::from_mins(5),
        leeway: Duration::from_secs(30),
    }
}

pub(super) fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_unix_timestamp(NOW).unwrap()))
}

/// What a verifier with the keys `rsa-1` and `ec-1` says at [`NOW`].
pub(super) async fn verify(token: &str) -> Result<Operator, TokenError> {
    let keys = KeySet::parse(jwks(&[rsa_jwk("rsa-1", &RSA), ec_jwk("ec-1", &EC)]).as_bytes()).unwrap();
    TokenVerifier::new(rules(), Arc::new(FixedKeys(keys)), clock())
        .unwrap()
        .verify(token)
        .await
}

/// What the verifier says of a good token after one change to its claims.
pub(super) async fn verify_claims(change: impl FnOnce(&mut Value)) -> Result<Operator, TokenError> {
    let mut claims = good_claims();
    change(&mut claims);
    verify(&token(&good_header(), &claims)).await
}

/// Sets a member, or removes it when the value is null.
pub(super) fn set(object: &mut Value, name: &str, value: Value) {
    let members = object.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}
