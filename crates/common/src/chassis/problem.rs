//! Every refusal in one form: problem documents (RFC 9457).

mod common;

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};

pub use common::COMMON;

/// The media type of problem documents (RFC 9457 §6.1).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// One kind of problem: a row of the table that clients program against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProblemType {
    /// The last part of `urn:iot-bridge:problem:<slug>`; never changes its meaning.
    pub slug: &'static str,
    /// The status that always comes with it.
    pub status: StatusCode,
    /// What it means to the caller, in one sentence.
    pub meaning: &'static str,
}

impl ProblemType {
    /// Writes a row of a table.
    pub const fn new(status: StatusCode, slug: &'static str, meaning: &'static str) -> Self {
        Self { slug, status, meaning }
    }
}

/// A refusal on its way to the caller. It says nothing about the inside of the service.
///
/// The request id is filled in as `instance` by [`layers::standard`](super::layers::standard).
#[derive(Debug, Clone)]
pub struct Problem {
    status: StatusCode,
    slug: &'static str,
    detail: Cow<'static, str>,
    members: Vec<(&'static str, Value)>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Describes a refusal. `detail` is for the person who reads it: no value that the caller sent, no
    /// text of a parser, of another system or of an unexpected error.
    pub fn new(status: StatusCode, slug: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            slug,
            detail: detail.into(),
            members: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// Describes a refusal of a known kind, with the sentence of the table.
    pub fn of(kind: &ProblemType) -> Self {
        Self::new(kind.status, kind.slug, kind.meaning)
    }

    /// Replaces the sentence.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Adds the member `code`: the finer reason below the slug.
    #[must_use]
    pub fn with_code(self, code: &'static str) -> Self {
        self.with_member("code", code)
    }

    /// Adds an extension member (RFC 9457 §3.2).
    #[must_use]
    pub fn with_member(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((name, value.into()));
        self
    }

    /// Sets a header of the answer, for example another `WWW-Authenticate`.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(present, _)| *present != name);
        self.headers.push((name, value));
        self
    }

    /// Sets `Retry-After`, in whole seconds, rounded up, at least one.
    #[must_use]
    pub fn with_retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Names the field that is wrong, when it is known.
    pub(super) fn with_field(self, field: Option<String>) -> Self {
        match field {
            Some(field) => self.with_member("field", field),
            None => self,
        }
    }

    /// Sets the challenge of a 401 (RFC 9110 §11.6.1), for example `Basic realm="enroll"`.
    #[must_use]
    pub fn with_challenge(self, challenge: &'static str) -> Self {
        self.with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// Returns the status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the kind: the last part of the `type` member.
    pub fn slug(&self) -> &'static str {
        self.slug
    }

    /// Returns the document; `instance` is the request id.
    pub fn document(&self, instance: Option<&str>) -> Value {
        let mut document = Map::new();
        document.insert(
            "type".to_owned(),
            format!("urn:iot-bridge:problem:{}", self.slug).into(),
        );
        document.insert("title".to_owned(), title(self.slug).into());
        document.insert("status".to_owned(), self.status.as_u16().into());
        document.insert("detail".to_owned(), self.detail.as_ref().into());
        if let Some(instance) = instance {
            document.insert("instance".to_owned(), instance.into());
        }
        for (name, value) in &self.members {
            document.insert((*name).to_owned(), value.clone());
        }
        Value::Object(document)
    }

    /// Turns a response into this problem; headers that say something else stay.
    pub(super) fn write_into(&self, response: &mut Response, instance: Option<&str>) {
        *response.status_mut() = self.status;
        *response.body_mut() = Body::from(self.document(instance).to_string());
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

impl IntoResponse for Problem {
    /// Leaves the problem in the extensions of the response, where the layers find it, log its slug and
    /// write it once more with the request id.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        self.write_into(&mut response, None);
        response.extensions_mut().insert(self);
        response
    }
}

/// The slug in words: one title for one type, as RFC 9457 §3.1.3 asks.
fn title(slug: &str) -> String {
    let mut words = slug.replace('-', " ");
    if let Some(first) = words.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    words
}

/// Writes an error and all its sources in one line: `outer: inner: innermost`.
pub fn error_chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        write!(line, ": {cause}").expect("writing to a String does not fail");
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_written_as_rfc_9457_says() {
        let problem = Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "csr-rejected",
            "The CN is another name.",
        )
        .with_code("cn-mismatch");

        let document = problem.document(Some("0197"));

        assert_eq!(
            document,
            serde_json::json!({
                "type": "urn:iot-bridge:problem:csr-rejected",
                "title": "Csr rejected",
                "status": 422,
                "detail": "The CN is another name.",
                "instance": "0197",
                "code": "cn-mismatch",
            })
        );
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        for (wait, header) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2")] {
            let response = Problem::rate_limited(Duration::from_millis(wait)).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], header);
        }
    }

    #[test]
    fn a_later_header_replaces_an_earlier_one() {
        let response = Problem::unauthenticated()
            .with_challenge("Basic realm=\"enroll\"")
            .into_response();

        let challenges: Vec<_> = response.headers().get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!(challenges, ["Basic realm=\"enroll\""]);
    }

    #[test]
    fn a_chain_is_one_line_from_the_outside_to_the_inside() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::fmt::Error);

        let line = error_chain(&Outer(std::fmt::Error));

        assert_eq!(line, format!("outer: {}", std::fmt::Error));
    }
}
