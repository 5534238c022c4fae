use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::forge::{EC, OTHER_RSA, RSA, b64, ec_jwk, jwks, modulus, rsa_jwk, set};
use crate::chassis::token::{Algorithm, InvalidKeySet, KeySet};

#[test]
fn keycloaks_set_is_read_and_its_encryption_key_left_out() {
    let mut encryption = rsa_jwk("enc-1", &OTHER_RSA);
    set(&mut encryption, "use", json!("enc"));
    set(&mut encryption, "alg", json!("RSA-OAEP"));

    let set = KeySet::parse(jwks(&[encryption, rsa_jwk("rsa-1", &RSA), ec_jwk("ec-1", &EC)]).as_bytes()).unwrap();

    let algorithm = |id| set.find(Some(id)).map(|key| key.algorithm());
    assert_eq!(algorithm("rsa-1"), Some(Algorithm::Rs256));
    assert_eq!(algorithm("ec-1"), Some(Algorithm::Es256));
    assert_eq!(algorithm("enc-1"), None);
}

#[test]
fn without_an_id_only_an_only_key_is_found() {
    let one = KeySet::parse(jwks(&[rsa_jwk("rsa-1", &RSA)]).as_bytes()).unwrap();
    let two = KeySet::parse(jwks(&[rsa_jwk("rsa-1", &RSA), ec_jwk("ec-1", &EC)]).as_bytes()).unwrap();

    assert!(one.find(None).is_some());
    assert!(two.find(None).is_none());
}

#[test]
fn use_and_alg_may_be_absent() {
    let mut jwk = rsa_jwk("rsa-1", &RSA);
    set(&mut jwk, "use", Value::Null);
    set(&mut jwk, "alg", Value::Null);

    assert!(KeySet::parse(jwks(&[jwk]).as_bytes()).is_ok());
}

#[test]
fn a_key_that_must_not_verify_tokens_is_not_usable() {
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let (x, y) = p384.public_key().as_ref()[1..].split_at(48);
    let (small, zero_led) = (
        b64(&modulus(&RSA)[..255]),
        b64([&[0], modulus(&RSA).as_slice()].concat()),
    );
    let rsa = |name, value| changed(rsa_jwk("rsa-1", &RSA), name, value);
    let ec = |name, value| changed(ec_jwk("ec-1", &EC), name, value);
    let bad = [
        json!({"kty": "oct", "kid": "s", "k": b64([7; 32]), "alg": "HS256"}),
        json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64([7; 32])}),
        json!({"kty": "EC", "kid": "p384", "crv": "P-384", "x": b64(x), "y": b64(y)}),
        json!("text"),
        rsa("kid", Value::Null),
        rsa("kid", json!("x".repeat(129))),
        rsa("use", json!("enc")),
        rsa("use", json!(["sig"])),
        rsa("alg", json!("PS256")),
        rsa("alg", json!("ES256")),
        rsa("alg", json!(256)),
        rsa("n", json!(small)),
        rsa("n", json!(zero_led)),
        rsa("n", json!("not base64url!")),
        rsa("n", json!("")),
        rsa("e", Value::Null),
        ec("alg", json!("RS256")),
        ec("crv", json!("P-384")),
        ec("x", json!(b64([0; 32]))), // no point of the curve
        ec("y", json!(b64([1; 31]))),
    ];
    for jwk in bad {
        let result = KeySet::parse(jwks(std::slice::from_ref(&jwk)).as_bytes());

        assert_eq!(result.err(), Some(InvalidKeySet::NoUsableKey), "{jwk}");
    }
}

#[test]
fn a_set_that_says_two_things_is_refused_whole() {
    let same_id = jwks(&[rsa_jwk("k", &RSA), rsa_jwk("k", &OTHER_RSA)]);
    let same_id_as_secret = jwks(&[rsa_jwk("k", &RSA), json!({"kty": "oct", "kid": "k", "k": "AAAA"})]);
    for text in [same_id, same_id_as_secret] {
        assert_eq!(
            KeySet::parse(text.as_bytes()).err(),
            Some(InvalidKeySet::DuplicateKeyId),
            "{text}"
        );
    }
    for text in [
        "",
        "{}",
        "[]",
        "<html>",
        r#"{"keys": {}}"#,
        r#"{"keys": [], "keys": []}"#,
    ] {
        assert_eq!(
            KeySet::parse(text.as_bytes()).err(),
            Some(InvalidKeySet::Malformed),
            "{text}"
        );
    }
}

fn changed(mut jwk: Value, name: &str, value: Value) -> Value {
    set(&mut jwk, name, value);
    jwk
}
