use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use common::chassis::path::PathDeviceId;
use common::chassis::problem::Problem;
use common::domain::DeviceId;
use serde::Serialize;

use super::auth::CallerWithToken;
use super::problem;
use crate::doctor::{Doctor, Verdict};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    device_id: DeviceId,
    chain: Vec<Verdict>,
}

/// `GET /doctor/{id}`
pub(super) async fn examine(
    CallerWithToken(visitor): CallerWithToken,
    State(doctor): State<Arc<Doctor>>,
    PathDeviceId(device_id): PathDeviceId,
) -> Result<Json<Report>, Problem> {
    let chain = doctor
        .examine(&visitor, &device_id)
        .await
        .map_err(|error| problem::store_problem(&error))?;
    let chain = chain.ok_or_else(Problem::not_found)?;
    Ok(Json(Report { device_id, chain }))
}
