use axum::Json;
use axum::extract::State;
use common::chassis::client_address::ClientAddress;
use common::chassis::json::StrictJson;
use common::chassis::problem::Problem;
use common::domain::{DeviceId, SessionId, rfc3339};
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::auth::Caller;
use super::problem;
use super::state::AppState;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TicketRequest {
    device_id: String,
}

#[derive(Serialize)]
pub(super) struct TicketResponse {
    ticket: String,
    expires_at: String,
    session_id: SessionId,
    /// Seconds until the session ends unless a fresh token comes.
    session_expires_in: u64,
}

/// `POST /terminal/tickets`: also how a page learns why it would be refused, since a browser hides the answer
/// to a failed WebSocket handshake.
pub(super) async fn issue(
    Caller(operator): Caller,
    State(state): State<AppState>,
    client: ClientAddress,
    headers: HeaderMap,
    StrictJson(request): StrictJson<TicketRequest>,
) -> Result<(StatusCode, Json<TicketResponse>), Problem> {
    let origin = state.doors.origin(&headers)?;
    let device_id = DeviceId::parse(&request.device_id).map_err(|_invalid| Problem::invalid_device_id())?;
    let issued = state.access.issue_ticket(operator, &device_id, origin.as_deref()).await;
    let issued = issued.map_err(|error| problem::access_problem(error, &state.failures, client))?;
    let ticket = issued.secret.expose_secret().to_owned();
    Ok((
        StatusCode::CREATED,
        Json(TicketResponse {
            ticket,
            expires_at: rfc3339(issued.expires_at),
            session_id: issued.session_id,
            session_expires_in: issued.session_lifetime.as_secs(),
        }),
    ))
}
