//! Enrollment from the device's side: one request, and nothing of the answer is believed unchecked.

mod enrollment;
pub(crate) mod roots;
mod trust;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use common::chassis::http_client;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

pub use enrollment::{BadAnswer, Enrollment};
pub(crate) use enrollment::{CERTIFICATE_FILE, copy_of};
pub use trust::{InvalidFingerprint, ServerTrust, parse_fingerprint};

use crate::clock;
use crate::identity::Identity;

/// Largest answer: four certificates and a page of settings are about 6 KiB.
pub(crate) const MAX_BODY_BYTES: usize = 256 * 1024;

/// Longest text of a problem document that is shown.
const MAX_SHOWN_CHARS: usize = 300;

/// Where and as what a device enrolls.
#[derive(Debug, Clone)]
pub struct EnrollSettings {
    /// The bridge's base address.
    pub url: Url,
    /// What proves that it is the bridge.
    pub trust: ServerTrust,
    /// The enrollment token.
    pub token: SecretString,
    /// What kind of device this is.
    pub device_type: Option<String>,
    /// What people call it.
    pub device_name: Option<String>,
    /// How long to wait for a bridge that cannot answer yet.
    pub patience: Patience,
}

/// How long to wait while the bridge says "later" (its certificate authority or hub is away).
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// At least so long between two requests, whatever the bridge says.
    pub shortest: Duration,
    /// At most so long between two requests.
    pub longest: Duration,
    /// So long altogether.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            shortest: Duration::from_secs(1),
            longest: Duration::from_mins(1),
            total: Duration::from_mins(10),
        }
    }
}

/// Why the bridge did not give what it was asked for: an enrollment, a renewal, a sign of life. Each variant is the
/// caller's reaction.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// Change the address or say whom to trust.
    #[error(
        "the bridge's address has to be https, with a root or a fingerprint to believe; plain http is only for enrolling \
         at a loopback address"
    )]
    InsecureUrl,
    /// Repair the root file.
    #[error("the root certificates to trust are missing or not PEM")]
    InvalidRoots,
    /// The server is not the bridge that the fingerprint was made for, or its root was replaced.
    #[error("the bridge has no root certificate with the expected fingerprint")]
    RootNotFound,
    /// Repair the token file.
    #[error("the enrollment token has characters that no token has")]
    InvalidToken,
    /// Try again later.
    #[error("the bridge did not answer")]
    Unavailable {
        /// What went wrong on the way.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Try again later: the request is on record, and the same request fetches the result.
    #[error("the bridge could not finish in time; the same request again fetches the result")]
    Pending,
    /// Ask the operator.
    #[error("the bridge refused: {0}")]
    Refused(Refusal),
    /// Do not try again: someone answers who should not, or the bridge is broken.
    #[error(transparent)]
    BadAnswer(#[from] BadAnswer),
}

impl EnrollError {
    pub(crate) fn unavailable(source: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable {
            source: Box::new(source),
        }
    }
}

/// A problem document (RFC 9457), made safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The last part of `urn:iot-bridge:problem:<slug>`; empty when the answer is no such document.
    pub slug: String,
    /// The kind of problem, in words.
    pub title: String,
    /// This problem, in a sentence.
    pub detail: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            slug,
            title,
            detail,
        } = self;
        if slug.is_empty() {
            write!(formatter, "status {status}")
        } else {
            write!(formatter, "{title} ({slug}, {status}): {detail}")
        }
    }
}

/// Enrolls the device: sends its request until there is an answer, and checks the answer.
pub async fn enroll(settings: &EnrollSettings, identity: &Identity) -> Result<Enrollment, EnrollError> {
    let client = settings.trust.client(&settings.url, None, clock::built_at()).await?;
    let deadline = Instant::now() + settings.patience.total;
    loop {
        let response = post(&client, settings, identity).await?;
        match wait_asked_for(&response).map(|wait| wait.clamp(settings.patience.shortest, settings.patience.longest)) {
            Some(wait) if Instant::now() + wait <= deadline => {
                let status = response.status().as_u16();
                let wait_seconds = wait.as_secs();
                tracing::info!(
                    http.status = status,
                    wait_seconds,
                    "The bridge is not ready yet; waiting"
                );
                tokio::time::sleep(wait).await;
            }
            Some(_) | None => {
                let enrollment = conclude(response, identity).await?;
                enrollment.check_root(&settings.trust)?;
                return Ok(enrollment);
            }
        }
    }
}

/// How long the bridge wants us to wait before the same request again: 202 while the authority or the
/// hub is away; 429 and 503 when they say for how long (RFC 9110 §10.2.3, whole seconds).
fn wait_asked_for(response: &Response) -> Option<Duration> {
    let header = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match response.status() {
        StatusCode::ACCEPTED => Some(Duration::from_secs(header.unwrap_or(0))),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => header.map(Duration::from_secs),
        _ => None,
    }
}

async fn conclude(response: Response, identity: &Identity) -> Result<Enrollment, EnrollError> {
    let status = response.status();
    let body = http_client::read_limited(response, MAX_BODY_BYTES)
        .await
        .map_err(EnrollError::unavailable)?;
    match status {
        StatusCode::OK | StatusCode::CREATED => Ok(Enrollment::check(&body, identity)?),
        StatusCode::ACCEPTED => Err(EnrollError::Pending),
        _ => Err(EnrollError::Refused(refusal(status, &body))),
    }
}

#[derive(Serialize)]
struct Request<'a> {
    csr: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<&'a str>,
    wg_public_key: String,
}

async fn post(client: &Client, settings: &EnrollSettings, identity: &Identity) -> Result<Response, EnrollError> {
    let request = Request {
        csr: identity.csr_pem(),
        device_type: settings.device_type.as_deref(),
        device_name: settings.device_name.as_deref(),
        wg_public_key: identity.wireguard_key().public_key().to_base64(),
    };
    let token = settings.token.expose_secret();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(EnrollError::InvalidToken);
    }
    let url = route(&settings.url, &["devices", identity.id().as_str(), "enroll"])?;
    client
        .post(url)
        .bearer_auth(token)
        .json(&request)
        .send()
        .await
        .map_err(EnrollError::unavailable)
}

pub(crate) fn route(base: &Url, segments: &[&str]) -> Result<Url, EnrollError> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| EnrollError::InsecureUrl)?
        .pop_if_empty()
        .extend(segments);
    Ok(url)
}

/// Reads an answer that is a no.
pub(crate) async fn refused(response: Response) -> EnrollError {
    let status = response.status();
    match http_client::read_limited(response, MAX_BODY_BYTES).await {
        Ok(body) => EnrollError::Refused(refusal(status, &body)),
        Err(error) => EnrollError::unavailable(error),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    r#type: String,
    title: String,
    detail: String,
}

fn refusal(status: StatusCode, body: &[u8]) -> Refusal {
    let problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let slug = problem
        .r#type
        .strip_prefix("urn:iot-bridge:problem:")
        .unwrap_or_default();
    Refusal {
        status: status.as_u16(),
        slug: shown(slug),
        title: shown(&problem.title),
        detail: shown(&problem.detail),
    }
}

/// The text goes to a terminal or a log: no control characters, and not too much of it.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(MAX_SHOWN_CHARS)
        .collect()
}
