//! News of the update server: `{controllerId, actionId, status, ts?}`. hawkBit sends nothing by itself; whoever passes
//! its events on may send them here, and need not wait for the next reading.

use axum::extract::{FromRequest, Request};
use common::chassis::problem::Problem;
use common::domain::{DeviceId, Timestamp, UpdateStatus};
use serde_json::{Map, Value};

use super::super::problem;
use super::message::{milliseconds, read};
use crate::app::updates::ReportedUpdate;

/// One piece of news.
#[derive(Debug)]
pub(in crate::http) struct News {
    device_id: DeviceId,
    action_id: i64,
    pub(super) status: String,
    subject: Option<String>,
    changed_at: Option<Timestamp>,
}

impl<S: Send + Sync> FromRequest<S> for News {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        Self::of(&read(request, state).await?)
    }
}

impl News {
    /// Reads one piece of news.
    pub(super) fn of(news: &Map<String, Value>) -> Result<Self, Problem> {
        let text = |key: &str| news.get(key).and_then(Value::as_str);
        let name = text("controllerId").ok_or_else(problem::missing_device)?;
        let times = ["lastModifiedAt", "ts"].iter();
        let changed_at = times.clone().find_map(|key| milliseconds(news.get(*key)?));
        Ok(Self {
            device_id: DeviceId::parse(name).map_err(|_invalid| problem::unprocessable_device_id())?,
            action_id: news
                .get("actionId")
                .and_then(milliseconds)
                .ok_or_else(|| problem::invalid_field("actionId"))?,
            status: text("status")
                .ok_or_else(|| problem::invalid_field("status"))?
                .to_owned(),
            subject: text("distributionSet").map(|name| name.chars().take(200).collect()),
            changed_at: changed_at.and_then(|it| Timestamp::from_unix_timestamp_nanos(i128::from(it) * 1_000_000).ok()),
        })
    }

    pub(super) fn into_report(self, status: UpdateStatus) -> ReportedUpdate {
        ReportedUpdate {
            action_id: self.action_id,
            device_id: self.device_id,
            status,
            subject: self.subject,
            changed_at: self.changed_at,
        }
    }
}
