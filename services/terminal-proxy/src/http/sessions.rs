use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use common::chassis::client_address::ClientAddress;
use common::chassis::json::StrictJson;
use common::chassis::problem::Problem;
use common::chassis::query::StrictQuery;
use common::chassis::rate_limit::FailureLimiter;
use common::domain::{SessionId, rfc3339};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::auth::{Caller, CallerWithToken};
use super::problem;
use crate::session::{SessionSeen, Sessions};
use crate::terminals::Terminals;

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    /// Also those that ended.
    #[serde(default)]
    all: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct SessionList {
    sessions: Vec<SessionView>,
}

/// A session as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct SessionView {
    id: SessionId,
    device_id: String,
    username: String,
    instance: String,
    client_address: String,
    opened_at: String,
    closed_at: Option<String>,
    reason: Option<String>,
    output_bytes: i64,
    input_bytes: i64,
    recorded: bool,
    /// Whether its person is there; none when it has ended or another process serves it.
    attached: Option<bool>,
    /// Whether its person can come back to it, and lets others type along.
    resumable: Option<bool>,
    shared: Option<bool>,
    watchers: Option<usize>,
}

impl From<SessionSeen> for SessionView {
    fn from(SessionSeen { record, presence }: SessionSeen) -> Self {
        let session = record.session;
        Self {
            id: session.id,
            device_id: session.device_id.into(),
            username: session.username,
            instance: session.instance,
            client_address: session.client_address,
            opened_at: rfc3339(record.opened_at),
            closed_at: record.closed_at.map(rfc3339),
            reason: record.reason,
            output_bytes: record.output_bytes,
            input_bytes: record.input_bytes,
            recorded: session.recorded,
            attached: presence.map(|presence| presence.is_attached),
            resumable: presence.map(|presence| presence.is_resumable),
            shared: presence.map(|presence| presence.is_shared),
            watchers: presence.map(|presence| presence.watchers),
        }
    }
}

/// `GET /sessions`: one's own, or everyone's for an admin.
pub(super) async fn list(
    Caller(operator): Caller,
    State(sessions): State<Arc<Sessions>>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<SessionList>, Problem> {
    let records = sessions
        .list(&operator, !query.all)
        .await
        .map_err(|error| problem::store_problem(&error))?;
    Ok(Json(SessionList {
        sessions: records.into_iter().map(SessionView::from).collect(),
    }))
}

/// `GET /sessions/{sid}`
pub(super) async fn show(
    Caller(operator): Caller,
    State(sessions): State<Arc<Sessions>>,
    Path(id): Path<String>,
) -> Result<Json<SessionView>, Problem> {
    let found = sessions
        .find(&operator, session_id(&id)?)
        .await
        .map_err(|error| problem::store_problem(&error))?;
    found.map(|record| Json(record.into())).ok_or_else(Problem::not_found)
}

/// `DELETE /sessions/{sid}`: the process that serves it ends it within seconds.
pub(super) async fn kill(
    Caller(operator): Caller,
    State(sessions): State<Arc<Sessions>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let killed = sessions.kill(&operator, session_id(&id)?).await;
    killed.map_err(|error| problem::registry_problem(&error))?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sharing {
    shared: bool,
}

/// `PATCH /sessions/{sid}`: its person lets other operators of the device type along, or not any more.
pub(super) async fn share(
    Caller(operator): Caller,
    State(sessions): State<Arc<Sessions>>,
    Path(id): Path<String>,
    StrictJson(sharing): StrictJson<Sharing>,
) -> Result<StatusCode, Problem> {
    let shared = sessions.share(&operator, session_id(&id)?, sharing.shared).await;
    shared.map_err(|error| problem::registry_problem(&error))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize)]
pub(super) struct Renewed {
    /// Seconds until the session ends unless another fresh token comes.
    expires_in: u64,
}

/// `POST /sessions/{sid}/token`: the token in `Authorization` is the fresh one.
pub(super) async fn renew(
    CallerWithToken(visitor): CallerWithToken,
    State(terminals): State<Arc<Terminals>>,
    State(failures): State<Arc<FailureLimiter>>,
    client: ClientAddress,
    Path(id): Path<String>,
) -> Result<Json<Renewed>, Problem> {
    let lifetime = terminals
        .renew(visitor, session_id(&id)?, &client.0.to_string())
        .await
        .map_err(|error| problem::renew_problem(error, &failures, client))?;
    Ok(Json(Renewed {
        expires_in: lifetime.as_secs(),
    }))
}

/// What is no id is the id of nothing.
pub(super) fn session_id(text: &str) -> Result<SessionId, Problem> {
    Uuid::try_parse(text)
        .map(SessionId)
        .map_err(|_malformed| Problem::not_found())
}
