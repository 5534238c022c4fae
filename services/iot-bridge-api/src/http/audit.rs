//! Who did what when.

use axum::Json;
use axum::extract::State;
use common::chassis::problem::Problem;
use common::chassis::query::StrictQuery;
use common::domain::{AuditFilter, AuditRecord, AuditTrail as _, DeviceId, Timestamp, rfc3339};
use common::store::Store;
use serde::{Deserialize, Serialize};

use super::auth::Admin;
use super::problem;

/// Records on a page when nobody says how many.
const PAGE: u16 = 100;
/// Most records on a page.
const MAX_PAGE: u16 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    device_id: Option<DeviceId>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    before: Option<Timestamp>,
    limit: Option<u16>,
}

#[derive(Serialize)]
pub(super) struct AuditList {
    records: Vec<RecordBody>,
}

#[derive(Serialize)]
struct RecordBody {
    instance: String,
    sequence: i64,
    at: String,
    actor: String,
    action: String,
    device_id: Option<String>,
    detail: serde_json::Value,
    hash: String,
}

pub(super) async fn list(
    _admin: Admin,
    State(store): State<Store>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<AuditList>, Problem> {
    let filter = AuditFilter {
        device_id: query.device_id,
        before: query.before,
        limit: query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE),
    };
    let records = store.audit(&filter).await.map_err(problem::store)?;
    Ok(Json(AuditList {
        records: records.into_iter().map(RecordBody::of).collect(),
    }))
}

impl RecordBody {
    fn of(record: AuditRecord) -> Self {
        let AuditRecord {
            instance,
            sequence,
            at,
            actor,
            action,
            device_id,
            detail,
            hash,
        } = record;
        Self {
            instance,
            sequence,
            at: rfc3339(at),
            actor,
            action,
            device_id,
            detail,
            hash,
        }
    }
}
