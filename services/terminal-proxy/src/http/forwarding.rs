//! A request about a session that another process serves goes there, as it is.

use std::str::FromStr as _;
use std::time::Duration;

use axum::RequestExt as _;
use axum::body::{Body, to_bytes};
use axum::extract::{RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use common::chassis::client_address::ClientAddress;
use common::chassis::problem::{Problem, error_chain};
use common::domain::SessionId;
use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use hyper_util::rt::TokioIo;
use tracing::{Instrument as _, Span, warn};
use uuid::Uuid;

use super::auth::{client, presented, single_parameter};
use super::problem;
use super::recordings::RECORDING_CHAIN;
use super::state::AppState;
use super::websocket::SESSION_ID;
use crate::access::Credential;
use crate::neighbours::Elsewhere;
use crate::relay::pass_on;

/// Where the pass stands in a request that another process hands over.
const FORWARD_PASS: HeaderName = HeaderName::from_static("forward-pass");

/// What goes along with a request; nothing else does.
const REQUEST_HEADERS: [HeaderName; 10] = [
    ACCEPT,
    AUTHORIZATION,
    CONNECTION,
    CONTENT_TYPE,
    HOST,
    ORIGIN,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
    UPGRADE,
];

/// What comes back with an answer.
const ANSWER_HEADERS: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    RETRY_AFTER,
    SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
    WWW_AUTHENTICATE,
    RECORDING_CHAIN,
    SESSION_ID,
];

/// What the other process gets for a whole answer: a recording may be long. Its head is due as any other answer's.
const LONGEST_ANSWER: Duration = Duration::from_hours(1);

/// Longest body that is handed over.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Takes a request that another process hands over, or hands one over when another process serves its session; each has
/// to be for a name of ours.
pub(super) async fn forward(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    state.doors.check_host(request.headers())?;
    if let Some(pass) = request.headers_mut().remove(FORWARD_PASS) {
        let client = welcome(&state, pass.to_str().unwrap_or_default()).await?;
        request.extensions_mut().insert(client);
        return Ok(next.run(request).await);
    }
    let Some(elsewhere) = elsewhere(&state, &mut request).await else {
        return Ok(next.run(request).await);
    };
    match hand_over(&state, elsewhere, request).await {
        Ok(answer) => Ok(answer),
        Err(request) => Ok(next.run(*request).await),
    }
}

/// A request with a pass that is none is nobody's honest request.
async fn welcome(state: &AppState, pass: &str) -> Result<ClientAddress, Problem> {
    let client = state.neighbours.welcome(pass).await;
    let client = client.map_err(|error| problem::store_problem(&error))?;
    client
        .and_then(|client| client.parse().ok())
        .map(ClientAddress)
        .ok_or_else(Problem::forbidden)
}

/// Where the session of a request is, when it is not here. Only for somebody whose credential may be one: a token that
/// nobody vouches for costs no look into the database.
async fn elsewhere(state: &AppState, request: &mut Request) -> Option<Elsewhere> {
    state.neighbours.http()?;
    let id = session_of(request).await?;
    if state.sessions.serves(id) {
        return None;
    }
    let is_recording = request.uri().path().ends_with("/recording");
    let (parts, body) = std::mem::take(request).into_parts();
    let credential = presented(&parts, &state.doors)
        .ok()
        .map(|presented| presented.credential);
    let client = client(&parts).0.to_string();
    *request = Request::from_parts(parts, body);
    if let Credential::Token(token) = credential? {
        state.access.identify(&token).await.ok()?;
    }
    let found = state.neighbours.holder_of(id, is_recording, &client).await;
    found.unwrap_or_else(|error| {
        warn!(error = error_chain(&error), "Nobody says where a session is served");
        None
    })
}

/// The session in the path, or the one to come back to.
async fn session_of(request: &mut Request) -> Option<SessionId> {
    let path = request.extract_parts::<RawPathParams>().await.ok()?;
    let in_path = path
        .iter()
        .find(|(name, _)| *name == "sid")
        .map(|(_, id)| id.to_owned());
    let query = request.uri().query().unwrap_or_default();
    let id = match in_path {
        Some(id) => id,
        None => single_parameter(query, "resume").ok()??,
    };
    Uuid::from_str(&id).ok().map(SessionId)
}

/// Hands a request over and returns the answer; the request comes back when the other process cannot be reached.
async fn hand_over(state: &AppState, to: Elsewhere, request: Request) -> Result<Response, Box<Request>> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let mut url = to.url;
    url.set_path(parts.uri.path());
    url.set_query(parts.uri.query());
    let mut headers = only(&REQUEST_HEADERS, &parts.headers);
    if let Ok(pass) = to.pass.parse() {
        headers.insert(FORWARD_PASS, pass);
    }
    let Some(http) = state.neighbours.http() else {
        return Err(Box::new(Request::from_parts(parts, Body::from(body))));
    };
    let method = Method::clone(&parts.method);
    let sent = http
        .request(method, url)
        .headers(headers)
        .body(body.clone())
        .timeout(LONGEST_ANSWER);
    let sent = sent.send().await;
    let request = Request::from_parts(parts, Body::from(body));
    match sent {
        Ok(answer) => Ok(take_answer(state, answer, request)),
        Err(error) => {
            // The address has the person's ticket in it.
            let error = error.without_url();
            warn!(
                error = error_chain(&error),
                "A request cannot be handed over to the process that serves its session"
            );
            Err(Box::new(request))
        }
    }
}

fn take_answer(state: &AppState, answer: reqwest::Response, request: Request) -> Response {
    let status = answer.status();
    let headers = only(&ANSWER_HEADERS, answer.headers());
    let body = if status == StatusCode::SWITCHING_PROTOCOLS {
        join(state, answer, request);
        Body::empty()
    } else {
        Body::new(reqwest::Body::from(answer))
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Lets the two upgraded connections pass into each other.
fn join(state: &AppState, answer: reqwest::Response, request: Request) {
    let drain = state.shutdown.token();
    let passage = async move {
        // Whichever did not come, the other one ends as well.
        if let (Ok(browser), Ok(peer)) = tokio::join!(hyper::upgrade::on(request), answer.upgrade()) {
            pass_on(TokioIo::new(browser), peer, drain.cancelled()).await;
        }
    };
    drop(state.shutdown.spawn(passage.instrument(Span::current())));
}

fn only(names: &[HeaderName], headers: &HeaderMap) -> HeaderMap {
    let mut chosen = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            chosen.append(name.clone(), value.clone());
        }
    }
    chosen
}
