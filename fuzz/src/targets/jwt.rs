//! Access tokens: as they come, and claims behind a good signature.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::chassis::token::{FixedKeys, KeySet, RoleNames, TokenRules, TokenVerifier};
use common::domain::{Clock as _, ManualClock, Operator, Timestamp};

/// What looking at a token may take.
const LIMIT: Duration = Duration::from_millis(50);

struct Issuer {
    key: EcdsaKeyPair,
    clock: Arc<ManualClock>,
    verifier: TokenVerifier,
}

/// Tries the bytes as a token, which nobody signed, and as the claims of a token that our issuer signed.
pub fn check(bytes: &[u8]) {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    let issuer = ISSUER.get_or_init(Issuer::new);
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(
            issuer.believes(|| text.to_owned()).is_none(),
            "believed without a signature"
        );
    }
    let now = issuer.clock.now();
    if let Some(operator) = issuer.believes(|| issuer.sign(bytes)) {
        assert!(!operator.subject.is_empty(), "nobody");
        assert!(operator.expires_at > now - TokenRules::MAX_LEEWAY, "a dead token lives");
        assert!(
            operator.expires_at <= now + Duration::from_mins(6),
            "a token for too long"
        );
    }
}

impl Issuer {
    fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("the system gives randomness");
        let point = key.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwks = serde_json::json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "k", "x": encode(x), "y": encode(y) },
        ] });
        let keys = KeySet::parse(jwks.to_string().as_bytes()).expect("our own key");
        let start = Timestamp::from_unix_timestamp(1_790_000_000).expect("a time");
        let clock = Arc::new(ManualClock::new(start));
        let verifier = TokenVerifier::new(rules(), Arc::new(FixedKeys(keys)), clock.clone()).expect("good rules");
        Self { key, clock, verifier }
    }

    fn sign(&self, claims: &[u8]) -> String {
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"ES256","typ":"JWT","kid":"k"}"#);
        let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self
            .key
            .sign(&SystemRandom::new(), message.as_bytes())
            .expect("the key signs");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// Whom a token speaks for. Every try is with a new one, because a good token is remembered.
    fn believes(&self, token: impl Fn() -> String) -> Option<Operator> {
        let verified = crate::within(LIMIT, || {
            let token = token();
            match pin!(self.verifier.verify(&token)).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(verified) => verified,
                Poll::Pending => unreachable!("the keys are at hand"),
            }
        });
        verified.ok()
    }
}

fn rules() -> TokenRules {
    TokenRules {
        issuer: "https://login.example.com".to_owned(),
        audience: "terminal-proxy".to_owned(),
        authorized_parties: vec!["iot-bridge".to_owned()],
        roles: RoleNames {
            admin: "fleet-admin".to_owned(),
            operator: "fleet-operator".to_owned(),
            viewer: "fleet-viewer".to_owned(),
        },
        max_lifetime: Duration::from_mins(5),
        leeway: TokenRules::MAX_LEEWAY,
    }
}
