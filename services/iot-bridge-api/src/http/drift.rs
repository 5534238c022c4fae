//! How the systems beside us differ from the database.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use common::chassis::problem::Problem;
use common::domain::{DriftKind, DriftReport, System, rfc3339};
use http::StatusCode;
use serde::Serialize;

use super::auth::Admin;
use super::problem;
use crate::app::sweep::Sweep;

#[derive(Serialize)]
pub(super) struct DriftBody {
    /// When each system was compared last.
    checked_at: BTreeMap<&'static str, String>,
    drift: Vec<DriftRow>,
}

#[derive(Serialize)]
struct DriftRow {
    system: System,
    name: String,
    kind: DriftKind,
}

#[derive(Serialize)]
pub(super) struct AppliedBody {
    ordered: usize,
}

pub(super) async fn list(_admin: Admin, State(sweep): State<Arc<Sweep>>) -> Result<Json<DriftBody>, Problem> {
    let report = sweep.report().await.map_err(problem::store)?;
    Ok(Json(DriftBody::of(report)))
}

pub(super) async fn apply(
    admin: Admin,
    State(sweep): State<Arc<Sweep>>,
) -> Result<(StatusCode, Json<AppliedBody>), Problem> {
    let ordered = sweep.apply(&admin.actor()).await.map_err(problem::store)?;
    Ok((StatusCode::ACCEPTED, Json(AppliedBody { ordered })))
}

impl DriftBody {
    fn of(report: DriftReport) -> Self {
        let checked = report.checked.into_iter();
        let drifts = report.drifts.into_iter();
        Self {
            checked_at: checked.map(|(system, at)| (system.as_str(), rfc3339(at))).collect(),
            drift: drifts
                .map(|drift| DriftRow {
                    system: drift.system,
                    name: drift.name,
                    kind: drift.kind,
                })
                .collect(),
        }
    }
}
