use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::forge::{
    OTHER_RSA, RSA, b64, ec_signature, good_claims, good_header, modulus, rsa_jwk, rsa_signature, set, signed, token,
    token_of_text, verify,
};
use crate::chassis::token::{TokenError, TokenVerifier};

const ALGORITHM: &str = "algorithm not allowed";
const TYPE: &str = "a header member is missing or malformed";
const NO_OBJECT: &str = "the header is no strict JSON object";
const CLAIMS: &str = "a claim is missing or malformed";

/// Rows of the table of bad inputs: name, member of a good header that it changes, the member's new value
/// (null takes it away), and the reason that goes to the log.
fn bad_headers() -> Vec<(&'static str, &'static str, Value, &'static str)> {
    let embedded = rsa_jwk("rsa-1", &RSA);
    vec![
        ("B-121", "alg", json!("none"), ALGORITHM),
        ("B-121", "alg", json!("None"), ALGORITHM),
        ("B-121", "alg", json!("nOnE"), ALGORITHM),
        ("B-121", "alg", json!("rs256"), ALGORITHM),
        ("B-121", "alg", json!(["RS256"]), TYPE),
        ("B-121", "alg", Value::Null, TYPE),
        ("B-122", "alg", json!("HS256"), ALGORITHM),
        ("B-123", "alg", json!("PS256"), ALGORITHM),
        ("B-123", "alg", json!("RS512"), ALGORITHM),
        ("B-123", "alg", json!("ES256"), "the algorithm is not the key's"),
        ("B-123", "kid", json!("ec-1"), "the algorithm is not the key's"),
        ("B-125", "crit", json!(["x"]), "header member not allowed"),
        ("B-125", "crit", json!([]), "header member not allowed"),
        ("B-125", "b64", json!(false), "header member not allowed"),
        ("B-125", "b64", json!(true), "header member not allowed"),
        ("B-125", "zip", json!("DEF"), "header member not allowed"),
        ("B-126", "kid", Value::Null, "no such key"), // several keys
        ("B-126", "kid", json!(""), "no such key"),
        ("B-126", "kid", json!("../../dev/null"), "no such key"),
        ("B-126", "kid", json!("' OR 1=1 --"), "no such key"),
        ("B-126", "kid", json!("RSA-1"), "no such key"),
        ("B-126", "kid", json!("x".repeat(129)), "key id too long"),
        ("B-126", "kid", json!("x".repeat(10_000)), "too long"),
        ("B-126", "kid", json!(1), TYPE),
        ("B-127", "jwk", embedded, "header member not allowed"),
        (
            "B-132",
            "typ",
            json!("dpop+jwt"),
            "header type is not an access token's",
        ),
        ("B-132", "typ", json!(""), "header type is not an access token's"),
    ]
}

#[tokio::test]
async fn one_wrong_header_member_makes_a_good_token_bad() {
    for (row, member, value, reason) in bad_headers() {
        let mut header = good_header();
        set(&mut header, member, value);

        let verdict = verify(&token(&header, &good_claims())).await;

        assert_eq!(verdict, Err(TokenError::Invalid(reason)), "{row}: {header}");
    }
}

#[tokio::test]
async fn header_types_of_access_tokens_are_read_in_any_case_or_absent() {
    for typ in [
        json!("JWT"),
        json!("jwt"),
        json!("at+jwt"),
        json!("AT+JWT"),
        Value::Null,
    ] {
        let mut header = good_header();
        set(&mut header, "typ", typ);

        assert!(verify(&token(&header, &good_claims())).await.is_ok(), "{header}");
    }
}

#[tokio::test]
async fn b_111_addresses_of_keys_are_not_looked_at() {
    for member in ["jku", "x5u"] {
        let mut header = good_header();
        set(&mut header, member, json!("https://evil.example/keys"));
        let by_stranger = signed(&header.to_string(), &good_claims().to_string(), |message| {
            rsa_signature(&OTHER_RSA, message)
        });

        // The verifier of this test has no way out at all: its keys are fixed.
        assert!(verify(&token(&header, &good_claims())).await.is_ok());
        assert_eq!(
            verify(&by_stranger).await,
            Err(TokenError::Invalid("the signature does not match"))
        );
    }
}

#[tokio::test]
async fn b_120_and_b_133_what_is_no_jws_of_strict_json_is_refused() {
    let good = token(&good_header(), &good_claims());
    let claims = good_claims().to_string();
    let twice = claims.replacen('{', r#"{"aud": "account", "#, 1);
    let twice_inside = claims.replacen(r#"{"roles""#, r#"{"roles": [], "roles""#, 1);
    let header = good_header().to_string();
    let cases = [
        (String::new(), "not three parts"),
        ("a.b".to_owned(), "not three parts"),
        (good.replacen('.', "", 1), "not three parts"),
        (format!("{good}.AAAA"), "not base64url"), // a fourth part
        (format!("{good}="), "not base64url"),     // padding
        (format!(" {good}"), "not base64url"),
        ("..".to_owned(), NO_OBJECT),
        ("x".repeat(TokenVerifier::MAX_TOKEN_LENGTH + 1), "too long"),
        (
            token_of_text(&header.replacen('{', r#"{"alg": "none", "#, 1), &claims),
            NO_OBJECT,
        ),
        (token_of_text("[]", &claims), NO_OBJECT),
        (token_of_text(&header, &twice), CLAIMS),
        (token_of_text(&header, &twice_inside), CLAIMS),
        (token_of_text(&header, "[]"), CLAIMS),
        (token_of_text(&header, "{}{}"), CLAIMS),
        (token_of_text(&header, "{}"), CLAIMS),
    ];
    for (text, reason) in cases {
        assert_eq!(verify(&text).await, Err(TokenError::Invalid(reason)), "{text}");
    }
}

#[tokio::test]
async fn b_121_a_token_without_signature_is_refused_under_every_algorithm() {
    for alg in ["none", "None", "nOnE", "RS256"] {
        let mut header = good_header();
        set(&mut header, "alg", json!(alg));
        let unsigned = signed(&header.to_string(), &good_claims().to_string(), |_| Vec::new());

        assert!(matches!(verify(&unsigned).await, Err(TokenError::Invalid(_))), "{alg}");
    }
}

#[tokio::test]
async fn b_122_the_public_key_is_no_shared_secret_in_any_encoding() {
    let der: PublicKeyX509Der<'_> = RSA.public_key().as_der().unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    for secret in [
        pem.as_bytes(),
        der.as_ref(),
        &modulus(&RSA),
        b64(modulus(&RSA)).as_bytes(),
    ] {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let forged = |alg| {
            let mut header = good_header();
            set(&mut header, "alg", json!(alg));
            signed(&header.to_string(), &good_claims().to_string(), |message| {
                hmac::sign(&secret, message).as_ref().to_vec()
            })
        };

        assert_eq!(verify(&forged("HS256")).await, Err(TokenError::Invalid(ALGORITHM)));
        let verdict = verify(&forged("RS256")).await;
        assert_eq!(verdict, Err(TokenError::Invalid("the signature does not match")));
    }
}

#[tokio::test]
async fn a_signature_is_good_for_its_own_text_and_key_only() {
    let header = good_header().to_string();
    let claims = good_claims().to_string();
    let by_stranger = signed(&header, &claims, |message| rsa_signature(&OTHER_RSA, message));
    let other_text = signed(&header, &claims, |_| rsa_signature(&RSA, b"another text"));
    let cut = signed(&header, &claims, |message| rsa_signature(&RSA, message)[..255].to_vec());
    for forged in [by_stranger, other_text, cut] {
        assert_eq!(
            verify(&forged).await,
            Err(TokenError::Invalid("the signature does not match"))
        );
    }
}

#[tokio::test]
async fn a_token_signed_with_the_issuers_p256_key_is_believed() {
    let header = json!({"alg": "ES256", "kid": "ec-1", "typ": "at+jwt"}).to_string();

    let verdict = verify(&signed(&header, &good_claims().to_string(), ec_signature)).await;

    assert_eq!(verdict.map(|operator| operator.username).as_deref(), Ok("olga"));
}
