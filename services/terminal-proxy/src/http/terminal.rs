//! `GET /terminal`: everything that can be refused politely is, before the upgrade.

use std::sync::Arc;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::Response;
use common::chassis::path::PathDeviceId;
use common::chassis::problem::Problem;
use common::domain::{DeviceId, SessionId};
use http::request::Parts;
use hyper_util::rt::TokioIo;
use tracing::{Instrument as _, Span, debug};
use uuid::Uuid;

use super::auth::{client, presented, single_parameter};
use super::problem;
use super::state::AppState;
use super::websocket::Handshake;
use crate::session::Resume;
use crate::terminals::{OpenRequest, OpenTerminal};

/// `GET /terminal?deviceId=…`
pub(super) async fn open_by_query(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let handshake = Handshake::check(&parts)?;
    let query = parts.uri.query().unwrap_or_default();
    let text = single_parameter(query, "deviceId")?.ok_or_else(Problem::invalid_device_id)?;
    let device_id = DeviceId::parse(&text).map_err(|_invalid| Problem::invalid_device_id())?;
    open(&state, device_id, handshake, Request::from_parts(parts, body)).await
}

/// `GET /terminal/{id}`
pub(super) async fn open_by_path(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let handshake = Handshake::check(&parts)?;
    let PathDeviceId(device_id) = PathDeviceId::from_request_parts(&mut parts, &state).await?;
    open(&state, device_id, handshake, Request::from_parts(parts, body)).await
}

async fn open(
    state: &AppState,
    device_id: DeviceId,
    handshake: Handshake,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let client_address = client(&parts);
    let handshake = if state.doors.allow_resume {
        handshake
    } else {
        handshake.without_resume()
    };
    let open_request = read(state, device_id, &handshake, &parts)?;
    let terminal = state.terminals.open(&open_request).await;
    let terminal = terminal.map_err(|error| problem::open_problem(error, &state.failures, client_address))?;
    let response = handshake.accept(terminal.session_id());
    upgrade(state, terminal, Request::from_parts(parts, body));
    Ok(response)
}

fn read(state: &AppState, device_id: DeviceId, handshake: &Handshake, parts: &Parts) -> Result<OpenRequest, Problem> {
    let doors = Arc::clone(&state.doors);
    let origin = doors.origin(&parts.headers)?;
    let presented = presented(parts, &doors)?;
    if origin.is_none() && presented.needs_origin {
        return Err(problem::origin_not_allowed());
    }
    let client = client(parts).0.to_string();
    Ok(OpenRequest {
        device_id,
        credential: presented.credential,
        origin,
        client,
        is_numbered: handshake.offers_resume(),
        resume: resume(parts.uri.query().unwrap_or_default())?,
    })
}

/// `resume=<session>&offset=<number>`: what to go on with, and from where.
fn resume(query: &str) -> Result<Option<Resume>, Problem> {
    let (session, offset) = (single_parameter(query, "resume")?, single_parameter(query, "offset")?);
    let Some(session) = session else { return Ok(None) };
    let session_id = Uuid::try_parse(&session).map(SessionId).ok();
    let offset = offset.as_deref().unwrap_or("0").parse().ok();
    match (session_id, offset) {
        (Some(session_id), Some(offset)) => Ok(Some(Resume { session_id, offset })),
        _ => Err(Problem::bad_request().with_detail("`resume` is a session's id, and `offset` a number.")),
    }
}

/// Relays as soon as hyper has sent the 101 and lets the connection go.
fn upgrade(state: &AppState, terminal: OpenTerminal, request: Request) {
    let upgraded = hyper::upgrade::on(request);
    let session = async move {
        match upgraded.await {
            Ok(browser) => terminal.run(Box::new(TokioIo::new(browser))).await,
            Err(error) => {
                debug!(%error, "A browser left before its upgrade");
                Box::pin(terminal.give_up()).await;
            }
        }
    };
    drop(state.shutdown.spawn(session.instrument(Span::current())));
}
