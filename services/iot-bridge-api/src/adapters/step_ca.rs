//! step-ca 0.30 as [`CertificateAuthority`].
//!
//! What it is like: it spends a one-time token before it looks at the rest of a request, refuses tokens that are
//! older than its own start, and signs before it stores. So every try gets a new token, bound to the one CSR, and a
//! 401 is tried once more. Product words (provisioner, one-time token) stay in here.

mod crl;
mod kept;
mod one_time_token;
mod provisioner;
mod trust;

use std::sync::Arc;

use async_trait::async_trait;
use common::chassis::http_client;
use common::domain::{CertificateIntent, Clock, Digest, System};
use reqwest::{Client, Response, StatusCode};
use secrecy::SecretString;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;
use x509_parser::num_bigint::BigUint;

use self::crl::Crl;
use self::kept::Kept;
pub use self::one_time_token::{Minter, ProvisionerKey};
use self::trust::Pinned;
pub use self::trust::RootFingerprint;
use crate::kill_points::{KillPoint, reach};
use crate::ports::{BoxedError, CertificateAuthority, SignedChain, UpstreamError};

/// Largest answer that is read, in bytes: a chain, or a page of provisioners.
const MAX_ANSWER: usize = 1024 * 1024;
/// Largest revocation list that is read, in bytes: some three hundred thousand entries.
const MAX_CRL: usize = 16 * 1024 * 1024;

/// How to reach a step-ca.
#[derive(Debug)]
pub struct StepCaOptions {
    /// Its address, `https`.
    pub url: Url,
    /// Its roots; several during a rotation, the first one is asked for first.
    pub fingerprints: Vec<RootFingerprint>,
    /// The name of the provisioner that may sign for devices.
    pub provisioner: String,
    /// How to speak for it.
    pub secret: ProvisionerSecret,
}

/// What makes us the provisioner.
#[derive(Debug)]
pub enum ProvisionerSecret {
    /// Its private key, which then nobody else needs to have.
    Key(ProvisionerKey),
    /// The password of the private key that step-ca publishes; it is the only thing between that key and anybody who
    /// reaches step-ca, so it has to be long and random.
    Password(SecretString),
}

/// A step-ca. The connection is made, and its root checked, when it is needed first.
pub struct StepCa {
    url: Url,
    fingerprints: Vec<RootFingerprint>,
    provisioner: String,
    /// None when the key was given.
    password: Option<SecretString>,
    minter: Mutex<Kept<Minter>>,
    clock: Arc<dyn Clock>,
    pinned: Mutex<Kept<Pinned>>,
    crl: Crl,
}

/// The part of the answer to `/1.0/sign` that matters: leaf first, no root.
#[derive(Deserialize)]
struct SignAnswer {
    #[serde(rename = "certChain")]
    chain: Vec<String>,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    message: String,
}

/// What it answered instead of what was asked for; for the log only.
#[derive(Debug, thiserror::Error)]
#[error("step-ca answered {0}")]
struct Answered(StatusCode);

impl StepCa {
    /// Speaks to a step-ca.
    pub fn new(options: StepCaOptions, clock: Arc<dyn Clock>) -> Self {
        let StepCaOptions {
            url,
            fingerprints,
            provisioner,
            secret,
        } = options;
        let (password, minter) = match secret {
            ProvisionerSecret::Key(key) => (None, Some(Minter::new(key, provisioner.clone(), &url))),
            ProvisionerSecret::Password(password) => (Some(password), None),
        };
        Self {
            url,
            fingerprints,
            provisioner,
            password,
            minter: Mutex::new(Kept::new(minter)),
            clock,
            pinned: Mutex::new(Kept::new(None)),
            crl: Crl::default(),
        }
    }

    async fn pinned(&self) -> Result<Arc<Pinned>, UpstreamError> {
        let mut kept = self.pinned.lock().await;
        let (known, now) = (kept.value(), self.clock.now());
        if let Some(pinned) = known.as_ref().filter(|pinned| !pinned.is_stale(now)) {
            return Ok(Arc::clone(pinned));
        }
        let fresh = if let Some(failure) = kept.failure(now) {
            Err(failure)
        } else {
            let came = trust::pin(&self.url, &self.fingerprints, now).await;
            kept.keep(came, self.clock.now())
        };
        // Some of the roots are better than none.
        fresh.or_else(|error| known.ok_or(error))
    }

    async fn client(&self) -> Result<Client, UpstreamError> {
        Ok(self.pinned().await?.client.clone())
    }

    /// Returns who makes our tokens; the provisioner's key is fetched when it is needed first.
    async fn minter(&self) -> Result<Arc<Minter>, UpstreamError> {
        let mut kept = self.minter.lock().await;
        if let Some(minter) = kept.value() {
            return Ok(minter);
        }
        if let Some(failure) = kept.failure(self.clock.now()) {
            return Err(failure);
        }
        let came = self.fetch_minter().await;
        kept.keep(came, self.clock.now())
    }

    async fn fetch_minter(&self) -> Result<Minter, UpstreamError> {
        let password = self.password.clone().expect("a key that was given is kept");
        let client = self.client().await?;
        let key = provisioner::fetch(&client, &self.url, &self.provisioner, password).await?;
        Ok(Minter::new(key, self.provisioner.clone(), &self.url))
    }

    /// Posts a body that is made anew for every try. A 401 may only mean that the authority was restarted after the
    /// token was made, or that its provisioner has another key now, so it is tried once more.
    async fn post(
        &self,
        path: &str,
        body: impl Fn(&Minter) -> serde_json::Value + Send,
    ) -> Result<Response, UpstreamError> {
        let client = self.client().await?;
        let url = trust::endpoint(&self.url, path);
        for _ in 0..2 {
            let minter = self.minter().await?;
            let request = client.post(url.clone()).json(&body(&minter));
            reach(KillPoint::K2).await;
            let response = request.send().await.map_err(unavailable)?;
            reach(KillPoint::K3).await;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            if self.password.is_some() {
                self.minter.lock().await.forget(self.clock.now());
            }
        }
        // Our key, our clock or our provisioner: nothing that the device could do.
        Err(UpstreamError::unexpected(
            System::CertificateAuthority,
            Answered(StatusCode::UNAUTHORIZED),
        ))
    }

    async fn fetch_crl(&self) -> Result<Option<Vec<u8>>, UpstreamError> {
        let response = self
            .client()
            .await?
            .get(trust::endpoint(&self.url, "1.0/crl"))
            .send()
            .await
            .map_err(unavailable)?;
        match response.status() {
            StatusCode::OK => Ok(Some(read_at_most(response, MAX_CRL).await?)),
            StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => Ok(None), // switched off
            status => Err(refusal(status)),
        }
    }
}

impl std::fmt::Debug for StepCa {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("StepCa")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CertificateAuthority for StepCa {
    async fn sign(&self, intent: &CertificateIntent) -> Result<SignedChain, UpstreamError> {
        let csr = pem_rfc7468::encode_string("CERTIFICATE REQUEST", pem_rfc7468::LineEnding::LF, &intent.csr_der)
            .map_err(|error| UpstreamError::refused(System::CertificateAuthority, error))?;
        let pinned = self.pinned().await?;
        let response = self
            .post("1.0/sign", |minter| {
                let token = minter.for_signing(&intent.device_id, &intent.csr_der, self.clock.now());
                serde_json::json!({ "csr": csr, "ott": token })
            })
            .await?;
        if response.status() != StatusCode::CREATED {
            return Err(refusal(response.status()));
        }
        let answer: SignAnswer = serde_json::from_slice(&read(response).await?).map_err(unexpected)?;
        pinned.compare(answer.chain.get(1..).unwrap_or_default());
        Ok(SignedChain {
            pem: answer.chain.concat(),
        })
    }

    async fn revoke(&self, serial: &str) -> Result<(), UpstreamError> {
        let serial = BigUint::parse_bytes(serial.as_bytes(), 16)
            .ok_or_else(|| UpstreamError::refused(System::CertificateAuthority, "the serial number is not hex"))?
            .to_string();
        let response = self
            .post("1.0/revoke", |minter| {
                let token = minter.for_revoking(&serial, self.clock.now());
                // 5 is cessationOfOperation (RFC 5280 §5.3.1); without `passive` it answers 501.
                serde_json::json!({ "serial": serial, "ott": token, "reasonCode": 5, "passive": true })
            })
            .await?;
        self.crl.forget();
        match response.status() {
            StatusCode::OK => Ok(()),
            StatusCode::BAD_REQUEST => {
                let answer: ErrorAnswer = serde_json::from_slice(&read(response).await?).map_err(unexpected)?;
                let is_done = answer.message.contains("already") && answer.message.contains("revoked");
                if is_done {
                    Ok(())
                } else {
                    Err(refusal(StatusCode::BAD_REQUEST))
                }
            }
            status => Err(refusal(status)),
        }
    }

    async fn roots(&self) -> Result<String, UpstreamError> {
        Ok(self.pinned().await?.roots_pem.clone())
    }

    async fn intermediates(&self) -> Result<String, UpstreamError> {
        Ok(self.pinned().await?.intermediates_pem.clone())
    }

    async fn own_keys(&self) -> Result<Vec<Digest>, UpstreamError> {
        let mut keys = self.pinned().await?.keys.clone();
        keys.push(self.minter().await?.public_key());
        Ok(keys)
    }

    async fn crl(&self) -> Result<Option<Vec<u8>>, UpstreamError> {
        self.crl.get(self.clock.now(), self.fetch_crl()).await
    }

    async fn health(&self) -> Result<(), UpstreamError> {
        // Without it nothing can be signed, however well the authority is.
        self.minter().await?;
        let response = self
            .client()
            .await?
            .get(trust::endpoint(&self.url, "health"))
            .send()
            .await
            .map_err(unavailable)?;
        if response.status() == StatusCode::OK {
            Ok(())
        } else {
            Err(refusal(response.status()))
        }
    }
}

/// A client error is an answer about us; anything else may pass.
fn refusal(status: StatusCode) -> UpstreamError {
    let ca = System::CertificateAuthority;
    match status {
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => UpstreamError::refused(ca, Answered(status)),
        StatusCode::TOO_MANY_REQUESTS => UpstreamError::unavailable(ca, Answered(status)),
        status if status.is_server_error() => UpstreamError::unavailable(ca, Answered(status)),
        status => UpstreamError::unexpected(ca, Answered(status)),
    }
}

async fn read(response: Response) -> Result<Vec<u8>, UpstreamError> {
    read_at_most(response, MAX_ANSWER).await
}

async fn read_at_most(response: Response, max_bytes: usize) -> Result<Vec<u8>, UpstreamError> {
    let body = http_client::read_limited(response, max_bytes)
        .await
        .map_err(unavailable)?;
    Ok(body.to_vec())
}

fn unavailable(error: impl Into<BoxedError>) -> UpstreamError {
    UpstreamError::unavailable(System::CertificateAuthority, error)
}

fn unexpected(error: impl Into<BoxedError>) -> UpstreamError {
    UpstreamError::unexpected(System::CertificateAuthority, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_answers_decides_whether_to_try_again() {
        for (status, is_passing) in [
            (400, false),
            (403, false),
            (404, false),
            (301, false),
            (429, true),
            (500, true),
            (503, true),
        ] {
            let error = refusal(StatusCode::from_u16(status).unwrap());
            assert_eq!(
                matches!(error, UpstreamError::Unavailable { .. }),
                is_passing,
                "{status}"
            );
        }
    }
}
