//! An issuer that signs whatever it is asked to, in every wrong way there is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::domain::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::row::{Forgery, Signature};

pub(super) const CLIENT: &str = "terminal-ui";

pub(super) struct Forge {
    key: KeyPair,
    other_key: KeyPair,
    address: SocketAddr,
    fetches: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Forge {
    pub(super) async fn light() -> Self {
        let [key, second, other_key] = [(); 3].map(|()| KeyPair::generate(KeySize::Rsa2048).unwrap());
        let keys = json!({"keys": [jwk("key-1", &key), jwk("key-2", &second)]});
        let fetches = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&fetches);
        let answer = async move || {
            counted.fetch_add(1, Ordering::SeqCst);
            Json(keys)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        let router = Router::new().route("/keys", get(answer));
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            key,
            other_key,
            address,
            fetches,
            _server: server,
        }
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}/realms/fleet", self.address)
    }

    pub(super) fn keys_url(&self) -> String {
        format!("http://{}/keys", self.address)
    }

    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// A good token of the operator, but for what is asked for.
    pub(super) fn token(&self, forgery: &Forgery) -> String {
        if let Some(text) = &forgery.text {
            return text.clone();
        }
        let header = changed(
            json!({"alg": "RS256", "kid": "key-1", "typ": "JWT"}),
            &forgery.header,
            0,
        );
        let now = SystemClock.now().unix_timestamp();
        let claims = json!({
            "exp": now + 240, "iat": now - 10, "jti": "1", "iss": self.issuer(), "aud": "terminal-proxy",
            "sub": "subject-of-operator", "typ": "Bearer", "azp": CLIENT, "scope": "openid",
            "realm_access": {"roles": ["fleet-operator"]}, "groups": ["/fleets/default"],
            "preferred_username": "operator",
        });
        let claims = changed(claims, &forgery.claims, now).to_string();
        let mut claims = claims.replace("{issuer}", &self.issuer());
        if !forgery.more_claims.is_empty() {
            claims.insert_str(claims.len() - 1, &format!(",{}", forgery.more_claims));
        }
        let message = format!("{}.{}", base64url(header.to_string()), base64url(claims));
        let signature = self.signature(forgery.signature, message.as_bytes());
        format!("{message}.{}", base64url(signature))
    }

    fn signature(&self, kind: Signature, message: &[u8]) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().unwrap();
        match kind {
            Signature::Good => rsa(&self.key, message),
            Signature::OtherKey => rsa(&self.other_key, message),
            Signature::None => Vec::new(),
            Signature::PublicDer => hs256(der.as_ref(), message),
            Signature::PublicPem => {
                let text = STANDARD.encode(der.as_ref());
                let lines: Vec<&str> = text
                    .as_bytes()
                    .chunks(64)
                    .map(|line| std::str::from_utf8(line).unwrap())
                    .collect();
                let pem = format!(
                    "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                    lines.join("\n")
                );
                hs256(pem.as_bytes(), message)
            }
            Signature::Modulus => hs256(&modulus(&self.key), message),
        }
    }
}

/// Sets members, or takes them away where the value is null. A `{"now": 60}` is a moment.
fn changed(mut object: Value, changes: &Map<String, Value>, now: i64) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in changes {
        match value {
            Value::Null => drop(members.remove(name)),
            Value::Object(moment) if moment.contains_key("now") => {
                members.insert(name.clone(), json!(now + moment["now"].as_i64().unwrap()));
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                members.insert(name.clone(), value.clone());
            }
        }
    }
    object
}

fn rsa(key: &KeyPair, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
        .unwrap();
    signature
}

fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message)
        .as_ref()
        .to_vec()
}

fn jwk(key_id: &str, key: &KeyPair) -> Value {
    json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": key_id, "n": base64url(modulus(key)), "e": "AQAB"})
}

/// Out of the public key's DER (RFC 8017 §A.1.1), whose layout is the same for every such key.
fn modulus(key: &KeyPair) -> Vec<u8> {
    key.public_key().as_ref()[9..265].to_vec()
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
