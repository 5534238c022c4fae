//! The browser's side of the WebSocket handshake (RFC 6455 §4.2).

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::chassis::problem::Problem;
use common::domain::SessionId;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use crate::websocket_key::accept_value;

/// The sub-protocol of ttyd.
const TTY: &str = "tty";

/// The sub-protocol of ttyd with numbered output, so that a session can be resumed (`docs/terminal-protocol.md`).
const TTY_RESUME: &str = "tty.resume.v1";

/// A sub-protocol that is none: the one place where a browser can put a token beside the address.
const BEARER_PREFIX: &str = "bearer.";

/// Tells a client that is no page the name of its session; a page has it from its ticket.
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("session-id");

/// A request that may be upgraded.
#[derive(Debug)]
pub(super) struct Handshake {
    accept: HeaderValue,
    offers_tty: bool,
    offers_resume: bool,
}

impl Handshake {
    /// Checks the request's form; who sends it is not asked yet.
    pub(super) fn check(parts: &Parts) -> Result<Self, Problem> {
        let headers = &parts.headers;
        let upgrades = parts.version == Version::HTTP_11
            && has_token(headers, &CONNECTION, "upgrade")
            && has_token(headers, &UPGRADE, "websocket");
        if !upgrades || single(headers, &SEC_WEBSOCKET_VERSION) != Some("13") {
            return Err(upgrade_required());
        }
        let key = single(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
        let key =
            key.ok_or_else(|| Problem::bad_request().with_detail("`Sec-WebSocket-Key` is not 16 bytes in base64."))?;
        let accept = HeaderValue::from_str(&accept_value(key)).expect("base64 is ASCII");
        Ok(Self {
            accept,
            offers_tty: protocols(headers).any(|protocol| protocol == TTY),
            offers_resume: protocols(headers).any(|protocol| protocol == TTY_RESUME),
        })
    }

    /// Whether the client counts output and wants to be able to come back.
    pub(super) fn offers_resume(&self) -> bool {
        self.offers_resume
    }

    /// Does without what the service does not do.
    pub(super) fn without_resume(self) -> Self {
        Self {
            offers_resume: false,
            ..self
        }
    }

    /// Answers 101. A sub-protocol is named only when it was offered, or the browser refuses the answer; a
    /// token among the sub-protocols is never repeated; no extension is ever agreed to.
    pub(super) fn accept(self, session_id: SessionId) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        let session_id = HeaderValue::from_str(&session_id.to_string()).expect("a UUID is ASCII");
        headers.insert(SESSION_ID, session_id);
        if self.offers_resume {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(TTY_RESUME));
        } else if self.offers_tty {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(TTY));
        }
        response
    }
}

/// Lists the tokens among the sub-protocols.
pub(super) fn bearer_protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    protocols(headers).filter_map(|protocol| protocol.strip_prefix(BEARER_PREFIX))
}

fn upgrade_required() -> Problem {
    Problem::upgrade_required()
        .with_header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
        .with_header(UPGRADE, HeaderValue::from_static("websocket"))
}

fn is_key(text: &str) -> bool {
    STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 16)
}

/// The value of a header that is there exactly once.
fn single<'headers>(headers: &'headers HeaderMap, name: &HeaderName) -> Option<&'headers str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    list(headers, name).any(|entry| entry.eq_ignore_ascii_case(token))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    list(headers, &SEC_WEBSOCKET_PROTOCOL)
}

fn list<'headers>(headers: &'headers HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'headers str> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}
