use axum::Json;
use axum::extract::State;
use common::chassis::client_address::ClientAddress;
use common::chassis::json::StrictJson;
use common::chassis::problem::Problem;
use common::domain::{DeviceId, SessionId, TerminalPurpose, rfc3339};
use http::{HeaderMap, StatusCode};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::auth::CallerWithToken;
use super::problem;
use super::state::AppState;
use crate::access::{IssuedTicket, Visit};

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
    CallerWithToken(visitor): CallerWithToken,
    State(state): State<AppState>,
    client: ClientAddress,
    headers: HeaderMap,
    StrictJson(request): StrictJson<TicketRequest>,
) -> Result<(StatusCode, Json<TicketResponse>), Problem> {
    let origin = state.doors.origin(&headers)?;
    let device_id = DeviceId::parse(&request.device_id).map_err(|_invalid| Problem::invalid_device_id())?;
    let client_text = client.0.to_string();
    let visit = Visit {
        device_id: &device_id,
        purpose: TerminalPurpose::Open,
        origin: origin.as_deref(),
        client: &client_text,
    };
    let issued = state.access.issue_ticket(visitor, &visit, SessionId::generate()).await;
    let issued = issued.map_err(|error| problem::access_problem(error, &state.failures, client))?;
    Ok((StatusCode::CREATED, Json(issued.into())))
}

impl From<IssuedTicket> for TicketResponse {
    fn from(issued: IssuedTicket) -> Self {
        Self {
            ticket: issued.secret.expose_secret().to_owned(),
            expires_at: rfc3339(issued.expires_at),
            session_id: issued.session_id,
            session_expires_in: issued.session_lifetime.as_secs(),
        }
    }
}
