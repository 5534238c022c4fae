//! The next certificate: asked for with the current one, proven by its first use, and only then the current one.
//!
//! The device keeps its key, so that one file decides which certificate it has, also after a power cut.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::http_client;
use common::domain::{Clock, SystemClock, Timestamp};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock;
use crate::enroll::{self, EnrollError, Enrollment, roots};
use crate::identity::{Identity, IdentityError};
use crate::state::{StateDirectory, StateError};

/// How long to wait after a try that failed, the first time; twice as long each further time.
const RETRY: Duration = Duration::from_mins(1);
/// At most so long.
const LONGEST_RETRY: Duration = Duration::from_hours(1);
/// How often the clock is looked at; a device may sleep, and its clock may jump.
const LOOK: Duration = Duration::from_mins(10);

/// Why a certificate is not renewed. Each variant is the caller's reaction.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The bridge, as with an enrollment: try again later, or ask the operator.
    #[error(transparent)]
    Bridge(#[from] EnrollError),
    /// The directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// What is stored is damaged.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Renews one device's certificate.
#[derive(Debug)]
pub struct Renewer {
    url: Url,
    state: Arc<StateDirectory>,
    identity: Arc<Identity>,
}

impl Renewer {
    /// Prepares renewal at the bridge of this address.
    pub fn new(url: Url, state: Arc<StateDirectory>, identity: Arc<Identity>) -> Self {
        Self { url, state, identity }
    }

    /// Renews now: asks for the next certificate unless that was done before, uses it once, and stores it. One that the
    /// bridge knows no more, because it came back from a backup, is asked for anew; it is kept until there is another.
    pub async fn renew(&self, current: &Enrollment) -> Result<Enrollment, RenewError> {
        if let Some(next) = Enrollment::load_next(&self.state, &self.identity)? {
            match self.check_in(&next).await {
                Ok(()) => return self.take(next),
                Err(RenewError::Bridge(EnrollError::Refused(refusal)))
                    if refusal.status == StatusCode::UNAUTHORIZED.as_u16() => {}
                Err(error) => return Err(error),
            }
        }
        let next = self.ask(current).await?;
        next.store_next(&self.state)?;
        self.check_in(&next).await?;
        self.take(next)
    }

    /// Has a certificate that was used take the place of the present one.
    fn take(&self, next: Enrollment) -> Result<Enrollment, RenewError> {
        next.store(&self.state, &self.identity)?;
        self.state.remove(Enrollment::NEXT_FILE)?;
        tracing::info!(device.id = %self.identity.id(), "Renewed the certificate");
        Ok(next)
    }

    /// Shows the bridge that the device holds a certificate.
    pub async fn check_in(&self, enrollment: &Enrollment) -> Result<(), RenewError> {
        let url = self.route("checkin")?;
        let client = self.client(enrollment).await?;
        let response = client.post(url).send().await.map_err(EnrollError::unavailable)?;
        if response.status() != StatusCode::OK {
            return Err(enroll::refused(response).await.into());
        }
        let body = http_client::read_limited(response, enroll::MAX_BODY_BYTES)
            .await
            .map_err(EnrollError::unavailable)?;
        // Without a time in it, it is a check-in all the same.
        if let Ok(CheckedIn { server_time }) = serde_json::from_slice(&body) {
            clock::remember(&self.state, server_time)?;
        }
        Ok(self.learn_roots(&client, enrollment).await?)
    }

    /// Renews whenever two thirds of the certificate's life are over, until `stop`.
    pub async fn keep_fresh(self, mut enrollment: Arc<Enrollment>, stop: CancellationToken) {
        let mut due = due_at(&enrollment, self.jitter());
        let mut retry = RETRY;
        loop {
            let now = clock::now(&self.state).unwrap_or_else(|_unreadable| SystemClock.now());
            let pause = if now < due {
                Duration::try_from(due - now).unwrap_or(LOOK).min(LOOK)
            } else {
                match self.renew(&enrollment).await {
                    Ok(next) => {
                        enrollment = Arc::new(next);
                        due = due_at(&enrollment, self.jitter());
                        retry = RETRY;
                        continue;
                    }
                    Err(error) => {
                        let error = common::chassis::problem::error_chain(&error);
                        tracing::warn!(error, "The certificate is not renewed yet");
                        let pause = retry;
                        retry = (retry * 2).min(LONGEST_RETRY);
                        pause
                    }
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    async fn ask(&self, current: &Enrollment) -> Result<Enrollment, RenewError> {
        let (url, client) = (self.route("renew")?, self.client(current).await?);
        self.learn_roots(&client, current).await?;
        let request = client.post(url).json(&json!({ "csr": self.identity.csr_pem() }));
        let response = request.send().await.map_err(EnrollError::unavailable)?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED => {}
            StatusCode::ACCEPTED => return Err(EnrollError::Pending.into()),
            _ => return Err(enroll::refused(response).await.into()),
        }
        let body = http_client::read_limited(response, enroll::MAX_BODY_BYTES)
            .await
            .map_err(EnrollError::unavailable)?;
        let next = current.with_certificate(&body, &self.identity);
        Ok(next.map_err(EnrollError::from)?)
    }

    async fn client(&self, enrollment: &Enrollment) -> Result<Client, RenewError> {
        let identity = self.identity.with_chain(enrollment.certificate_chain_pem());
        let not_before = clock::floor(&self.state).unwrap_or_else(|_unreadable| clock::built_at());
        let not_before = not_before.max(enrollment.server_time());
        let trust = enrollment.server_trust(&self.state)?;
        Ok(trust.client(&self.url, Some(identity), not_before).await?)
    }

    /// Asks for the authority's roots and keeps them: before the next certificate comes from another one than the
    /// bridge's own, and after the last of the old ones is gone. When the authority is away, they stay as they are.
    async fn learn_roots(&self, client: &Client, enrollment: &Enrollment) -> Result<(), StateError> {
        match roots::fetch(&self.url, client).await {
            Ok(roots) if roots.is_empty() => Ok(()),
            Ok(roots) => {
                roots::keep(&self.state, &roots)?;
                enrollment.write_authorities(&self.state)
            }
            Err(error) => {
                let error = common::chassis::problem::error_chain(&error);
                tracing::debug!(error, "The authority's roots are not known anew");
                Ok(())
            }
        }
    }

    fn route(&self, operation: &str) -> Result<Url, EnrollError> {
        enroll::route(&self.url, &["devices", self.identity.id().as_str(), operation])
    }

    /// A number between 0 and 1 that is this device's: a fleet that enrolled in one minute does not renew in one.
    fn jitter(&self) -> f64 {
        let digest = common::domain::Digest::of(self.identity.id().as_str().as_bytes());
        f64::from(digest.0[0]) / 255.0
    }
}

/// The part of the answer to a check-in that matters here.
#[derive(Deserialize)]
struct CheckedIn {
    #[serde(with = "time::serde::rfc3339")]
    server_time: Timestamp,
}

/// When to renew: at two thirds of the certificate's life, or up to a twentieth of it earlier.
fn due_at(enrollment: &Enrollment, jitter: f64) -> Timestamp {
    due_within(&(enrollment.not_before()..enrollment.not_after()), jitter)
}

fn due_within(life: &Range<Timestamp>, jitter: f64) -> Timestamp {
    let share = 2.0 / 3.0 - jitter / 20.0;
    let due = life.start + (life.end - life.start) * share;
    due.replace_nanosecond(0).unwrap_or(due)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life_or_a_little_earlier() {
        let life = datetime!(2026-05-01 0:00 UTC)..datetime!(2026-05-31 0:00 UTC);

        assert_eq!(due_within(&life, 0.0), datetime!(2026-05-21 0:00 UTC));
        assert_eq!(due_within(&life, 1.0), datetime!(2026-05-19 12:00 UTC));
    }
}
