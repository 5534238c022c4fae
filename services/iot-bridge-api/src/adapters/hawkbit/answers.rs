//! The parts of hawkBit's answers that matter.

use common::domain::{DeviceId, System, Timestamp, UpdateReport, UpdateStatus};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::ports::{ChangePage, UpstreamError};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub(super) controller_id: String,
    name: Option<String>,
    group: Option<String>,
    pub(super) security_token: Option<String>,
    #[serde(rename = "targetTypeName")]
    pub(super) type_name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct TargetList {
    pub(super) content: Vec<Target>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) key: String,
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct MetadataList {
    pub(super) content: Vec<Metadata>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ActionList {
    content: Vec<Action>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    id: i64,
    status: String,
    last_modified_at: i64,
    #[serde(rename = "_links", default)]
    links: Links,
}

#[derive(Debug, Default, Deserialize)]
struct Links {
    target: Option<Link>,
    distributionset: Option<Link>,
}

#[derive(Debug, Deserialize)]
struct Link {
    href: String,
    name: Option<Value>,
}

impl Target {
    pub(super) fn is_called(&self, name: &str, group: &str) -> bool {
        self.name.as_deref() == Some(name) && self.group.as_deref() == Some(group)
    }
}

impl ActionList {
    /// An action that cannot be read, or that is of no possible device of ours, is left out: it must not stop what
    /// comes after it.
    pub(super) fn into_page(self, full: usize) -> Result<ChangePage, UpstreamError> {
        let length = self.content.len();
        let Some(last) = self.content.iter().map(|action| action.last_modified_at).max() else {
            return Ok(ChangePage::default());
        };
        let last = time(last).ok_or_else(|| UpstreamError::unexpected(System::UpdateServer, "a time is no time"))?;
        Ok(ChangePage {
            reports: self.content.into_iter().filter_map(Action::into_report).collect(),
            last_changed_at: Some(last),
            length,
            has_more: length >= full,
        })
    }
}

impl Action {
    fn into_report(self) -> Option<UpdateReport> {
        let target: Url = self.links.target?.href.parse().ok()?;
        let device_id = DeviceId::parse(target.path_segments()?.next_back()?).ok()?;
        let Some(status) = status(&self.status) else {
            tracing::warn!(
                action = self.id,
                status = self.status,
                "hawkBit has a status that we do not know"
            );
            return None;
        };
        let subject = self.links.distributionset.and_then(|link| link.name);
        Some(UpdateReport {
            action_id: self.id,
            device_id,
            status,
            subject: subject.and_then(|name| Some(name.as_str()?.chars().take(200).collect())),
            changed_at: time(self.last_modified_at)?,
        })
    }
}

/// What hawkBit's word for an action's status means (hawkBit 1.x; `pending` is from before).
pub(super) fn status(word: &str) -> Option<UpdateStatus> {
    Some(match word.to_ascii_lowercase().as_str() {
        "scheduled" | "wait_for_confirmation" => UpdateStatus::Waiting,
        "running" | "pending" | "retrieved" | "download" | "downloaded" | "warning" | "canceling"
        | "cancel_rejected" => UpdateStatus::Running,
        "finished" => UpdateStatus::Finished,
        "error" => UpdateStatus::Failed,
        "canceled" => UpdateStatus::Canceled,
        _ => return None,
    })
}

fn time(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()
}
