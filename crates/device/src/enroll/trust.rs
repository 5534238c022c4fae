//! Whom a device believes when it hands out its token.

use std::fmt;
use std::time::Duration;

use common::chassis::config::is_local;
use common::chassis::http_client::{self, HttpClientOptions, Trust};
use common::domain::{Digest, Timestamp};
use reqwest::Client;
use reqwest::redirect::Policy;
use secrecy::SecretString;
use url::Url;

use super::{EnrollError, roots};
use crate::x509;

/// Enrollment may take as long as the certificate authority takes.
const ANSWER: Duration = Duration::from_secs(30);

/// From the first packet to the end of the TLS handshake.
const CONNECT: Duration = Duration::from_secs(10);

/// What proves that the server is the bridge.
#[derive(Clone)]
pub enum ServerTrust {
    /// Nothing is needed: plain HTTP to a loopback address, where nobody else can listen in.
    Loopback,
    /// These root certificates and no others, in PEM; they came with the device.
    Roots(String),
    /// SHA-256 of the root certificate (DER), as step-ca prints it; it came with the token. The root is
    /// then fetched from the bridge itself and believed because of its hash alone.
    Fingerprint(Digest),
}

impl fmt::Debug for ServerTrust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => formatter.write_str("Loopback"),
            Self::Roots(_) => formatter.write_str("Roots(…)"),
            Self::Fingerprint(digest) => write!(formatter, "Fingerprint({digest})"),
        }
    }
}

/// The text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is the SHA-256 of a certificate: 64 hexadecimal digits")]
pub struct InvalidFingerprint;

/// Reads a fingerprint as `step certificate fingerprint` prints it, or with OpenSSL's colons.
pub fn parse_fingerprint(text: &str) -> Result<Digest, InvalidFingerprint> {
    text.replace(':', "").parse().map_err(|_| InvalidFingerprint)
}

impl ServerTrust {
    /// Builds a client that talks to this server and believes no other; `identity` proves who we are. The server's
    /// certificate is checked at `not_before` when our clock is late.
    pub(crate) async fn client(
        &self,
        url: &Url,
        identity: Option<SecretString>,
        not_before: Timestamp,
    ) -> Result<Client, EnrollError> {
        let only = |pem: String| Trust::OnlyNotBefore(pem.into_bytes(), not_before);
        let trust = match (self, url.scheme()) {
            (Self::Loopback, "http") if is_local(url) => Trust::Only(Vec::new()),
            (Self::Roots(pem), "https") => only(pem.clone()),
            (Self::Fingerprint(digest), "https") => only(fetch_root(url, digest).await?),
            (Self::Loopback | Self::Roots(_) | Self::Fingerprint(_), _) => {
                return Err(EnrollError::InsecureUrl);
            }
        };
        let options = HttpClientOptions {
            connect_timeout: CONNECT,
            total_timeout: ANSWER,
            trust,
            identity,
        };
        http_client::build(&options).map_err(|_| EnrollError::InvalidRoots)
    }

    /// Whether a root certificate (DER) is one that the device was told to believe.
    pub(crate) fn vouches_for(&self, root: &[u8]) -> bool {
        match self {
            Self::Loopback => true,
            Self::Roots(pem) => x509::certificates(pem).is_some_and(|roots| roots.iter().any(|it| it == root)),
            Self::Fingerprint(digest) => Digest::of(root) == *digest,
        }
    }
}

/// Fetches the bridge's roots over a connection that proves nothing, and returns the one that the
/// fingerprint proves. Nothing but this one public file goes over that connection.
async fn fetch_root(url: &Url, fingerprint: &Digest) -> Result<String, EnrollError> {
    let client = Client::builder()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .redirect(Policy::none())
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(|_| EnrollError::InvalidRoots)?;
    let roots = roots::fetch(url, &client).await?;
    let root = roots
        .iter()
        .find(|der| Digest::of(der) == *fingerprint)
        .ok_or(EnrollError::RootNotFound)?;
    Ok(x509::to_pem(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_the_usual_tools_print_it() {
        let plain = "aB".repeat(32);
        let colons = ["Ab"; 32].join(":");

        assert_eq!(parse_fingerprint(&plain), Ok(Digest([0xab; 32])));
        assert_eq!(parse_fingerprint(&colons), Ok(Digest([0xab; 32])));
        for text in ["", "ab", &"zz".repeat(32), &"+a".repeat(32), &"é".repeat(32)] {
            assert_eq!(parse_fingerprint(text), Err(InvalidFingerprint), "{text}");
        }
    }

    #[tokio::test]
    async fn a_token_is_not_sent_in_the_clear_nor_to_a_server_that_proves_nothing() {
        let cases = [
            ("http://bridge.example/", ServerTrust::Loopback),
            ("http://127.0.0.1.example/", ServerTrust::Loopback),
            ("https://127.0.0.1/", ServerTrust::Loopback),
            ("http://127.0.0.1/", ServerTrust::Roots(String::new())),
            ("http://127.0.0.1/", ServerTrust::Fingerprint(Digest([0; 32]))),
            ("ftp://127.0.0.1/", ServerTrust::Loopback),
        ];
        for (url, trust) in cases {
            let url = url.parse().unwrap();
            let client = trust.client(&url, None, Timestamp::UNIX_EPOCH);
            let error = client.await.unwrap_err();
            assert!(matches!(error, EnrollError::InsecureUrl), "{url}: {error:?}");
        }
        for url in ["http://127.0.0.1:8000/", "http://[::1]:8000", "http://localhost"] {
            let url = url.parse().unwrap();
            let client = ServerTrust::Loopback.client(&url, None, Timestamp::UNIX_EPOCH);
            assert!(client.await.is_ok(), "{url}");
        }
    }
}
