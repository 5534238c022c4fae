//! What is still to be told to other systems.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use common::chassis::problem::Problem;
use common::chassis::query::StrictQuery;
use common::domain::{DeviceId, Job, JobAction, JobState, System, rfc3339};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::auth::Admin;
use super::problem;
use crate::app::jobs::Jobs;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<JobState>,
}

#[derive(Serialize)]
pub(super) struct JobList {
    jobs: Vec<JobBody>,
}

#[derive(Serialize)]
struct JobBody {
    id: Uuid,
    device_id: DeviceId,
    system: System,
    action: JobAction,
    state: JobState,
    attempts: i32,
    created_at: String,
    next_attempt_at: String,
    last_error: Option<String>,
}

pub(super) async fn list(
    _admin: Admin,
    State(jobs): State<Arc<Jobs>>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<JobList>, Problem> {
    let jobs = jobs.list(query.state).await.map_err(problem::store)?;
    Ok(Json(JobList {
        jobs: jobs.into_iter().map(JobBody::of).collect(),
    }))
}

pub(super) async fn retry(
    admin: Admin,
    State(jobs): State<Arc<Jobs>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let id = Uuid::parse_str(&id).map_err(|_invalid| Problem::not_found())?;
    jobs.retry(id, &admin.actor()).await.map_err(problem::registry)?;
    Ok(StatusCode::ACCEPTED)
}

impl JobBody {
    fn of(job: Job) -> Self {
        Self {
            id: job.id,
            device_id: job.device_id,
            system: job.system,
            action: job.action,
            state: job.state,
            attempts: job.attempts,
            created_at: rfc3339(job.created_at),
            next_attempt_at: rfc3339(job.next_attempt_at),
            last_error: job.last_error,
        }
    }
}
