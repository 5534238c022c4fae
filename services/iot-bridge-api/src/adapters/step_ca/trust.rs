//! Whom to believe: the root whose fingerprint was configured, and nobody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::chassis::http_client::{self, HttpClientOptions, Trust};
use common::domain::{Digest, System, Timestamp};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use url::Url;

use super::kept::is_recent;
use super::{Answered, read, refusal, unavailable, unexpected};
use crate::app::certificate;
use crate::ports::UpstreamError;

/// What the authority gets for one answer.
const TIMEOUT: Duration = Duration::from_secs(8);
/// How long what is known is used while some of it is missing.
const LOOK_AGAIN_AFTER: time::Duration = time::Duration::minutes(1);

/// The SHA-256 of a root certificate's DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootFingerprint(Digest);

impl RootFingerprint {
    /// Reads 64 hex digits; step's tools also write dashes, colons and capitals.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text
            .trim()
            .chars()
            .filter(|character| !matches!(character, '-' | ':'))
            .collect();
        digits.parse().ok().map(Self)
    }
}

/// A connection that believes the pinned roots only.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) client: Client,
    pub(super) roots_pem: String,
    pub(super) intermediates_pem: String,
    /// The keys of the roots and intermediates.
    pub(super) keys: Vec<Digest>,
    looked_at: Timestamp,
    /// Whether some of the configured roots were not there, or an intermediate came into use since.
    is_incomplete: AtomicBool,
}

impl Pinned {
    /// Whether it is time to ask once more for what was missing.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        self.is_incomplete.load(Ordering::Relaxed) && !is_recent(self.looked_at, now, LOOK_AGAIN_AFTER)
    }

    /// Looks whether the issuers of a leaf, PEM, are those that are known.
    pub(super) fn compare(&self, issuers: &[String]) {
        let is_known = |issuer: &String| self.intermediates_pem.contains(issuer.trim());
        if !issuers.iter().all(is_known) {
            self.is_incomplete.store(true, Ordering::Relaxed);
        }
    }
}

#[derive(Deserialize)]
struct RootAnswer {
    ca: String,
}

#[derive(Deserialize)]
struct IntermediatesAnswer {
    crts: Vec<String>,
}

/// Fetches the roots without believing the connection, compares them with their fingerprints, and makes a client that
/// believes them and nobody else. Nothing but the roots goes over the first connection. During a rotation the
/// authority may not have all of them yet, or no longer; one is enough.
pub(super) async fn pin(url: &Url, fingerprints: &[RootFingerprint], now: Timestamp) -> Result<Pinned, UpstreamError> {
    let stranger = Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .timeout(TIMEOUT)
        .connect_timeout(HttpClientOptions::default().connect_timeout)
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .map_err(unexpected)?;
    let mut roots_pem = String::new();
    let mut is_incomplete = false;
    for fingerprint in fingerprints {
        match fetch_root(&stranger, url, fingerprint).await? {
            Some(root) => roots_pem.push_str(&root),
            None => is_incomplete = true,
        }
    }
    if roots_pem.is_empty() {
        return Err(unexpected(Answered(StatusCode::NOT_FOUND)));
    }
    let trust = Trust::Only(roots_pem.clone().into_bytes());
    let options = HttpClientOptions {
        total_timeout: TIMEOUT,
        trust,
        ..HttpClientOptions::default()
    };
    let client = http_client::build(&options).map_err(unexpected)?;
    let intermediates_pem = fetch_intermediates(&client, url).await?;
    let keys = certificate::key_digests(&format!("{roots_pem}{intermediates_pem}")).map_err(unexpected)?;
    Ok(Pinned {
        client,
        roots_pem,
        intermediates_pem,
        keys,
        looked_at: now,
        is_incomplete: is_incomplete.into(),
    })
}

/// Fetches a root; none when the authority does not have it.
async fn fetch_root(
    client: &Client,
    url: &Url,
    fingerprint: &RootFingerprint,
) -> Result<Option<String>, UpstreamError> {
    let url = endpoint(url, &format!("root/{}", fingerprint.0));
    let response = client.get(url).send().await.map_err(unavailable)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(refusal(status)),
    }
    let answer: RootAnswer = serde_json::from_slice(&read(response).await?).map_err(unexpected)?;
    check_root(&answer.ca, fingerprint).map(Some)
}

async fn fetch_intermediates(client: &Client, url: &Url) -> Result<String, UpstreamError> {
    let response = client.get(endpoint(url, "intermediates")).send().await;
    let response = response.map_err(unavailable)?;
    // It answers 201 to a GET.
    if !response.status().is_success() {
        return Err(refusal(response.status()));
    }
    let answer: IntermediatesAnswer = serde_json::from_slice(&read(response).await?).map_err(unexpected)?;
    Ok(answer.crts.concat())
}

/// Returns the root as PEM that we wrote ourselves, when it is the one.
fn check_root(pem: &str, fingerprint: &RootFingerprint) -> Result<String, UpstreamError> {
    let (label, der) = pem_rfc7468::decode_vec(pem.as_bytes()).map_err(unexpected)?;
    if label != "CERTIFICATE" || Digest::of(&der) != fingerprint.0 {
        tracing::error!("The root certificate that step-ca showed is not the configured one");
        return Err(UpstreamError::unexpected(
            System::CertificateAuthority,
            "another root certificate",
        ));
    }
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, &der).map_err(unexpected)
}

/// Returns the address of a resource; the configured address may have a path.
pub(super) fn endpoint(url: &Url, path: &str) -> Url {
    let mut url = url.clone();
    url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_64_hex_digits() {
        let plain = "84a033e84196f73bd593fad7a63e509e57fd982f084084a53ab2d2cb8ce3cd82";
        let parsed = RootFingerprint::parse(plain).unwrap();

        assert_eq!(RootFingerprint::parse(&plain.to_uppercase()), Some(parsed));
        assert_eq!(parsed.0.to_string(), plain);
        for bad in ["", "84", &plain.replace('8', "g"), &format!("{plain}00")] {
            assert_eq!(RootFingerprint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_root_with_another_fingerprint_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::default().self_signed(&key).unwrap();

        assert_eq!(
            check_root(&root.pem(), &RootFingerprint(Digest::of(root.der())))
                .unwrap()
                .lines()
                .next(),
            Some("-----BEGIN CERTIFICATE-----")
        );
        assert!(check_root(&root.pem(), &RootFingerprint(Digest::of(b"another"))).is_err());
        assert!(check_root(&key.serialize_pem(), &RootFingerprint(Digest::of(b"another"))).is_err());
    }

    #[test]
    fn the_configured_address_may_have_a_path() {
        let url = |text: &str| endpoint(&text.parse().unwrap(), "1.0/sign").to_string();
        assert_eq!(url("https://ca:9000"), "https://ca:9000/1.0/sign");
        assert_eq!(url("https://ca:9000/pki/"), "https://ca:9000/pki/1.0/sign");
    }
}
