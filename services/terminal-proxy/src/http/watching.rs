//! `/sessions/{sid}/watch` and `/sessions/{sid}/join`.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use common::chassis::client_address::ClientAddress;
use common::chassis::problem::Problem;
use common::domain::TerminalPurpose;
use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use tracing::{Instrument as _, Span};

use super::auth::{CallerWithToken, client, presented, single_parameter};
use super::problem;
use super::sessions::session_id;
use super::state::AppState;
use super::tickets::TicketResponse;
use super::websocket::Handshake;
use crate::access::Visitor;
use crate::watching::WatchRequest;

/// `POST /sessions/{sid}/watch`
pub(super) async fn ticket_to_watch(
    CallerWithToken(visitor): CallerWithToken,
    State(state): State<AppState>,
    client: ClientAddress,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<TicketResponse>), Problem> {
    let request = request(&state, &id, TerminalPurpose::Watch, (&headers, client))?;
    ticket(&state, visitor, request, client).await
}

/// `POST /sessions/{sid}/join`
pub(super) async fn ticket_to_join(
    CallerWithToken(visitor): CallerWithToken,
    State(state): State<AppState>,
    client: ClientAddress,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<(StatusCode, Json<TicketResponse>), Problem> {
    let request = request(&state, &id, TerminalPurpose::Join, (&headers, client))?;
    ticket(&state, visitor, request, client).await
}

async fn ticket(
    state: &AppState,
    visitor: Visitor,
    request: WatchRequest,
    client: ClientAddress,
) -> Result<(StatusCode, Json<TicketResponse>), Problem> {
    let issued = state.watching.ticket(visitor, &request).await;
    let issued = issued.map_err(|error| problem::watch_problem(error, &state.failures, client))?;
    Ok((StatusCode::CREATED, Json(issued.into())))
}

/// `GET /sessions/{sid}/watch`, with `type=true` to type along.
pub(super) async fn open(
    State(state): State<AppState>,
    Path(id): Path<String>,
    http_request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = http_request.into_parts();
    let handshake = Handshake::check(&parts)?.without_resume();
    let purpose = match single_parameter(parts.uri.query().unwrap_or_default(), "type")?.as_deref() {
        Some("true") => TerminalPurpose::Join,
        Some(_) | None => TerminalPurpose::Watch,
    };
    let client = client(&parts);
    let request = request(&state, &id, purpose, (&parts.headers, client))?;
    let presented = presented(&parts, &state.doors)?;
    if request.origin.is_none() && presented.needs_origin {
        return Err(problem::origin_not_allowed());
    }
    let watcher = state.watching.open(&presented.credential, &request).await;
    let watcher = watcher.map_err(|error| problem::watch_problem(error, &state.failures, client))?;
    let response = handshake.accept(request.session_id);
    let upgraded = hyper::upgrade::on(Request::from_parts(parts, body));
    let watch = async move {
        // A browser that left before its upgrade has not seen anything.
        if let Ok(browser) = upgraded.await {
            watcher.run(Box::new(TokioIo::new(browser))).await;
        }
    };
    drop(state.shutdown.spawn(watch.instrument(Span::current())));
    Ok(response)
}

fn request(
    state: &AppState,
    id: &str,
    purpose: TerminalPurpose,
    (headers, client): (&HeaderMap, ClientAddress),
) -> Result<WatchRequest, Problem> {
    Ok(WatchRequest {
        session_id: session_id(id)?,
        purpose,
        origin: state.doors.origin(headers)?,
        client: client.0.to_string(),
    })
}
