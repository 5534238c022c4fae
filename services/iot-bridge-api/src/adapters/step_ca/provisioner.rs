//! A JWK provisioner's private key as step-ca publishes it: encrypted with its password (RFC 7516, RFC 7518 §4.8).

use std::num::NonZeroU32;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_128, AesKek, KeyWrap as _};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::one_time_token::ProvisionerKey;
use super::trust::endpoint;
use super::{read, refusal, unavailable, unexpected};
use crate::ports::UpstreamError;

/// Most rounds of PBKDF2 that an answer can make us do; go-jose, which step-ca uses, stops there too.
const MAX_ROUNDS: u32 = 1_000_000;
/// Most pages of provisioners that are read, 100 each.
const MAX_PAGES: usize = 100;
const ALGORITHM: &str = "PBES2-HS256+A128KW";
const ENCRYPTION: &str = "A256GCM";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    provisioners: Vec<Provisioner>,
    next_cursor: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Provisioner {
    r#type: String,
    name: String,
    encrypted_key: Option<String>,
}

/// What is encrypted with what (RFC 7516 §4); a header with more in it would be understood wrongly.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    enc: String,
    #[serde(rename = "cty")]
    _content_type: Option<String>,
    p2c: u32,
    p2s: String,
}

/// Why a provisioner's key cannot be had; a person has to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error("step-ca has no JWK provisioner of the configured name with an encrypted key")]
    NoProvisioner,
    #[error("the provisioner's encrypted key is not {ALGORITHM} with {ENCRYPTION} and at most {MAX_ROUNDS} rounds")]
    Unsupported,
    #[error("the password does not open the provisioner's key")]
    WrongPassword,
    #[error("the provisioner's key is not P-256")]
    NotP256,
}

/// Finds the provisioner on all pages and opens its key, off the threads that serve requests.
pub(super) async fn fetch(
    client: &Client,
    url: &Url,
    name: &str,
    password: SecretString,
) -> Result<ProvisionerKey, UpstreamError> {
    let encrypted = find(client, url, name).await?;
    let opened = tokio::task::spawn_blocking(move || open(&encrypted, &password))
        .await
        .expect("opening a key neither panics nor is cancelled");
    opened.map_err(|error| {
        tracing::error!(%error, "step-ca's provisioner cannot be used");
        unexpected(error)
    })
}

async fn find(client: &Client, url: &Url, name: &str) -> Result<String, UpstreamError> {
    let mut cursor = String::new();
    for _ in 0..MAX_PAGES {
        let query = [("cursor", cursor.as_str()), ("limit", "100")];
        let request = client.get(endpoint(url, "1.0/provisioners")).query(&query);
        let response = request.send().await.map_err(unavailable)?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response.status()));
        }
        let page: Page = serde_json::from_slice(&read(response).await?).map_err(unexpected)?;
        let ours = |provisioner: &Provisioner| provisioner.r#type == "JWK" && provisioner.name == name;
        if let Some(provisioner) = page.provisioners.into_iter().find(ours) {
            return provisioner
                .encrypted_key
                .ok_or_else(|| unexpected(KeyError::NoProvisioner));
        }
        if page.next_cursor.is_empty() {
            break;
        }
        cursor = page.next_cursor;
    }
    Err(unexpected(KeyError::NoProvisioner))
}

/// Opens a compact JWE. `step` trims the line end of a password file in most cases and not in all, so both are tried.
fn open(jwe: &str, password: &SecretString) -> Result<ProvisionerKey, KeyError> {
    let raw = password.expose_secret();
    let trimmed = raw.trim_end();
    match decrypt(jwe, trimmed.as_bytes()) {
        Err(KeyError::WrongPassword) if trimmed != raw => decrypt(jwe, raw.as_bytes()),
        outcome => outcome,
    }
}

fn decrypt(jwe: &str, password: &[u8]) -> Result<ProvisionerKey, KeyError> {
    let parts: Vec<_> = jwe.split('.').collect();
    let [header, wrapped_key, nonce, ciphertext, tag] = parts.as_slice() else {
        return Err(KeyError::Unsupported);
    };
    let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| KeyError::Unsupported);
    let content_key = unwrap(&bytes(header)?, &bytes(wrapped_key)?, password)?;
    let nonce = Nonce::try_assume_unique_for_key(&bytes(nonce)?).map_err(|_| KeyError::Unsupported)?;
    let key = UnboundKey::new(&AES_256_GCM, &content_key).map_err(|_| KeyError::Unsupported)?;
    let mut sealed = [bytes(ciphertext)?, bytes(tag)?].concat();
    let jwk = LessSafeKey::new(key)
        .open_in_place(nonce, Aad::from(header.as_bytes()), &mut sealed)
        .map_err(|_| KeyError::WrongPassword)?;
    ProvisionerKey::from_jwk(jwk).ok_or(KeyError::NotP256)
}

/// RFC 7518 §4.8.1: the key that wraps the content key comes from the password.
fn unwrap(header: &[u8], wrapped_key: &[u8], password: &[u8]) -> Result<Vec<u8>, KeyError> {
    let header: Header = serde_json::from_slice(header).map_err(|_| KeyError::Unsupported)?;
    let rounds = NonZeroU32::new(header.p2c).filter(|rounds| rounds.get() <= MAX_ROUNDS);
    let (Some(rounds), true) = (rounds, header.alg == ALGORITHM && header.enc == ENCRYPTION) else {
        return Err(KeyError::Unsupported);
    };
    let salt_input = URL_SAFE_NO_PAD.decode(header.p2s).map_err(|_| KeyError::Unsupported)?;
    let salt = [ALGORITHM.as_bytes(), &[0], &salt_input].concat();
    let mut kek = [0; 16];
    pbkdf2::derive(PBKDF2_HMAC_SHA256, rounds, &salt, password, &mut kek);
    let kek = AesKek::new(&AES_128, &kek).map_err(|_| KeyError::Unsupported)?;
    let mut key = [0; 40];
    if wrapped_key.len() != key.len() {
        return Err(KeyError::Unsupported);
    }
    let key = kek.unwrap(wrapped_key, &mut key).map_err(|_| KeyError::WrongPassword)?;
    Ok(key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by step CLI 0.30.6 for the test, with the password `correct horse battery staple`.
    const JWE: &str = include_str!("provisioner/key.jwe");

    #[test]
    fn a_key_that_step_encrypted_is_opened_by_its_password() {
        for password in ["correct horse battery staple", "correct horse battery staple\n"] {
            assert!(open(JWE.trim(), &password.into()).is_ok());
        }
        let wrong = open(JWE.trim(), &"incorrect horse".into());
        assert_eq!(wrong.unwrap_err(), KeyError::WrongPassword);
    }

    #[test]
    fn an_answer_cannot_make_us_work_for_long() {
        let endless = r#"{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":1000001,"p2s":"AAAA"}"#;
        let rest = JWE.trim().split_once('.').unwrap().1;
        let jwe = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(endless));
        assert_eq!(decrypt(&jwe, b"x").unwrap_err(), KeyError::Unsupported);
    }

    #[test]
    fn what_is_encrypted_otherwise_is_refused() {
        let (header, rest) = JWE.trim().split_once('.').unwrap();
        let header = String::from_utf8(URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
        for (from, to) in [
            ("A256GCM", "A128CBC-HS256"),
            ("PBES2-HS256+A128KW", "dir"),
            ("\"p2c\"", "\"zip\":\"DEF\",\"p2c\""),
        ] {
            let jwe = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.replace(from, to)));
            assert_eq!(decrypt(&jwe, b"x").unwrap_err(), KeyError::Unsupported, "{to}");
        }
        assert_eq!(decrypt("a.b.c", b"x").unwrap_err(), KeyError::Unsupported);
    }
}
