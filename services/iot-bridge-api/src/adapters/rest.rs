//! What the clients of JSON services have in common: one address, deadlines, pauses, and how statuses are meant.

use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::chassis::http_client;
use common::domain::System;
use http::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::ports::{BoxedError, UpstreamError};

/// Largest answer that is read, in bytes: a page of a hundred entries.
const MAX_ANSWER: usize = 512 * 1024;
/// How long we are quiet after "too many requests" that did not say how long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that we believe.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// A pause that is over so soon is waited for; during a longer one, every call fails at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// A service at one address.
#[derive(Debug)]
pub(super) struct Rest {
    client: Client,
    base: Url,
    system: System,
    /// Until when it asked us to be quiet.
    quiet_until: Mutex<Option<Instant>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Vec<u8>,
    system: System,
}

/// What it answered instead of what was asked for; for the log only.
#[derive(Debug, thiserror::Error)]
#[error("it answered {0}")]
struct Answered(StatusCode);

impl Rest {
    pub(super) fn new(client: Client, base: Url, system: System) -> Self {
        Self {
            client,
            base,
            system,
            quiet_until: Mutex::default(),
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Builds an address below the base: each segment is one segment, whatever is in it.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("the settings accept only http and https addresses")
            .pop_if_empty()
            .extend(segments);
        url
    }

    /// Sends a request, unless the service asked us to be quiet.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, UpstreamError> {
        self.send_for_at_most(request, MAX_ANSWER).await
    }

    /// As [`send`](Self::send), when the answer may be longer than a page of a list.
    pub(super) async fn send_for_at_most(
        &self,
        request: RequestBuilder,
        max_answer: usize,
    ) -> Result<Answer, UpstreamError> {
        self.wait_out_pause().await?;
        let response = request.send().await.map_err(|error| self.unavailable(error))?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            *self.quiet_until.lock().await = Some(Instant::now() + asked_pause(&response));
        }
        let body = http_client::read_limited(response, max_answer)
            .await
            .map_err(|error| self.unavailable(error))?;
        Ok(Answer {
            status,
            body: body.to_vec(),
            system: self.system,
        })
    }

    async fn wait_out_pause(&self) -> Result<(), UpstreamError> {
        let quiet_until = *self.quiet_until.lock().await;
        let Some(until) = quiet_until.filter(|until| *until > Instant::now()) else {
            return Ok(());
        };
        if until - Instant::now() > PATIENCE {
            return Err(self.unavailable("it asked us to wait"));
        }
        tokio::time::sleep_until(until).await;
        Ok(())
    }

    pub(super) fn unavailable(&self, error: impl Into<BoxedError>) -> UpstreamError {
        UpstreamError::unavailable(self.system, error)
    }
}

impl Answer {
    /// Reads the body of an answer that has one of these statuses.
    pub(super) fn json<T: DeserializeOwned>(self, wanted: StatusCode) -> Result<T, UpstreamError> {
        if self.status != wanted {
            return Err(self.refusal());
        }
        serde_json::from_slice(&self.body).map_err(|error| UpstreamError::unexpected(self.system, error))
    }

    /// Reads the body of an answer that has this status as text.
    pub(super) fn text(self, wanted: StatusCode) -> Result<String, UpstreamError> {
        if self.status != wanted {
            return Err(self.refusal());
        }
        String::from_utf8(self.body).map_err(|error| UpstreamError::unexpected(self.system, error))
    }

    /// As [`json`](Self::json); none when there is no such thing.
    pub(super) fn json_if_found<T: DeserializeOwned>(self) -> Result<Option<T>, UpstreamError> {
        match self.status {
            StatusCode::NOT_FOUND => Ok(None),
            _ => self.json(StatusCode::OK).map(Some),
        }
    }

    /// Makes sure that it was done.
    pub(super) fn done(self) -> Result<(), UpstreamError> {
        if self.status.is_success() {
            Ok(())
        } else {
            Err(self.refusal())
        }
    }

    /// Makes sure that it is gone, by now or since long.
    pub(super) fn gone(self) -> Result<(), UpstreamError> {
        if self.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        self.done()
    }

    /// What an answer means that is not what was asked for. A wrong credential of ours says nothing about the
    /// device, and passes when someone corrects it.
    pub(super) fn refusal(self) -> UpstreamError {
        let answered = Answered(self.status);
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                UpstreamError::unavailable(self.system, answered)
            }
            status if status.is_server_error() => UpstreamError::unavailable(self.system, answered),
            status if status.is_client_error() => UpstreamError::refused(self.system, answered),
            _ => UpstreamError::unexpected(self.system, answered),
        }
    }
}

/// Reads `Retry-After` in seconds (RFC 9110 §10.2.3); a date is as good as nothing.
fn asked_pause(response: &Response) -> Duration {
    let header = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds = header.and_then(|text| text.parse().ok()).map(Duration::from_secs);
    seconds.unwrap_or(PAUSE).min(LONGEST_PAUSE)
}

/// Makes a credential that nobody will know: 32 characters that no address and no header changes.
pub(super) fn random_token() -> String {
    let mut bytes = [0; 24];
    rand::fill(&mut bytes).expect("the operating system gives randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_one_segment_whatever_is_in_it() {
        let base: Url = "https://server.example/prefix/".parse().unwrap();
        let rest = Rest::new(Client::default(), base, System::UpdateServer);

        let url = rest.url(&["rest", "v1", "targets", "../a?b#c%2f/d"]);

        assert_eq!(
            url.as_str(),
            "https://server.example/prefix/rest/v1/targets/..%2Fa%3Fb%23c%252f%2Fd"
        );
    }

    #[test]
    fn what_it_answers_decides_whether_to_try_again() {
        let reaction = |status: u16| {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                body: Vec::new(),
                system: System::UpdateServer,
            };
            match answer.done().unwrap_err() {
                UpstreamError::Unavailable { .. } => "later",
                UpstreamError::Refused { .. } => "never",
                UpstreamError::Unexpected { .. } => "alarm",
            }
        };
        for status in [401, 408, 429, 500, 502, 503] {
            assert_eq!(reaction(status), "later", "{status}");
        }
        for status in [400, 403, 404, 409, 422] {
            assert_eq!(reaction(status), "never", "{status}");
        }
        for status in [301, 302, 307] {
            assert_eq!(reaction(status), "alarm", "{status}");
        }
    }
}
