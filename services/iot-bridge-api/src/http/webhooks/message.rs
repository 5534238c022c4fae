//! A message of `ThingsBoard`, in the forms that its rule chains send.
//!
//! A REST node sends the message's data only, so ours puts the name beside it: `{event, deviceName, ts, …}`. An older
//! form is `{msgType, metadata, data}`. The name is taken from one place of each form and never from what a device
//! can write.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use common::chassis::json::{self, StrictJson};
use common::chassis::problem::Problem;
use common::domain::{DeviceId, Digest, PlatformEventKind, Timestamp};
use serde_json::{Map, Value};

use super::super::problem;
use super::metadata;
use crate::app::events::ReportedEvent;

/// The text of a message before its digest is made: messages of different senders are never the same.
const SENDER: &str = "device_platform\n";

/// One message, with sizes checked.
#[derive(Debug)]
pub(in crate::http) struct Message(Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Message {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read(request, state).await.map(Self)
    }
}

/// Reads one JSON object that is neither too large nor too deep.
pub(super) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Map<String, Value>, Problem> {
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts.clone(), body);
    let Ok(body) = Bytes::from_request(request, state).await else {
        return Err(problem::metadata_too_large());
    };
    not_too_deep(&body)?;
    let request = Request::from_parts(parts, Body::from(body));
    let StrictJson(object) = StrictJson::<Map<String, Value>>::from_request(request, state).await?;
    Ok(object)
}

fn not_too_deep(body: &[u8]) -> Result<(), Problem> {
    if metadata::is_too_deep(body) {
        return Err(problem::metadata_too_large());
    }
    Ok(())
}

impl Message {
    /// Reads the body of a message.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        not_too_deep(body)?;
        json::parse(body).map(Self)
    }

    /// Returns the fact; none when it is of a kind that does not matter here.
    pub(super) fn event(self) -> Result<Option<ReportedEvent>, Problem> {
        let Self(message) = self;
        let metadata = message.get("metadata").map(object).transpose()?;
        if let Some(metadata) = metadata {
            metadata::check(metadata)?;
        }
        let word = text(&message, "event").or_else(|| text(&message, "msgType"));
        let word = word.ok_or_else(|| problem::invalid_field("event"))?;
        let Some(kind) = kind(word) else { return Ok(None) };
        let data = message.get("data").and_then(Value::as_object);
        let device_id = device_id(&message, metadata, data)?;
        let sources = [Some(&message), data, metadata];
        Ok(Some(ReportedEvent {
            digest: Digest::of(format!("{SENDER}{}", Value::Object(message.clone())).as_bytes()),
            device_id,
            kind,
            happened_at: sources
                .into_iter()
                .flatten()
                .find_map(|source| happened_at(kind, source)),
        }))
    }
}

/// The kinds of `ThingsBoard` 4.3, and `POST_CONNECT`, which older descriptions call the first of them.
fn kind(word: &str) -> Option<PlatformEventKind> {
    Some(match word {
        "CONNECT_EVENT" | "POST_CONNECT" => PlatformEventKind::Connected,
        "DISCONNECT_EVENT" => PlatformEventKind::Disconnected,
        "ENTITY_CREATED" => PlatformEventKind::Created,
        "ENTITY_DELETED" => PlatformEventKind::Deleted,
        _ => return None,
    })
}

/// The name beside the event; in the older form, the metadata's, or the name of the device that the data is.
fn device_id(
    message: &Map<String, Value>,
    metadata: Option<&Map<String, Value>>,
    data: Option<&Map<String, Value>>,
) -> Result<DeviceId, Problem> {
    let beside = text(message, "deviceName");
    let within = metadata.and_then(|metadata| text(metadata, "deviceName"));
    let name = match (beside, within) {
        (Some(one), Some(other)) if one != other => return Err(problem::missing_device()),
        (Some(name), _) | (None, Some(name)) => Some(name),
        (None, None) => data
            .filter(|data| data.contains_key("id"))
            .and_then(|data| text(data, "name")),
    };
    let name = name.ok_or_else(problem::missing_device)?;
    DeviceId::parse(name).map_err(|_invalid| problem::unprocessable_device_id())
}

/// Milliseconds since 1970, as a number or as text; 0 is "never".
fn happened_at(kind: PlatformEventKind, source: &Map<String, Value>) -> Option<Timestamp> {
    let own = match kind {
        PlatformEventKind::Connected => "lastConnectTime",
        PlatformEventKind::Disconnected => "lastDisconnectTime",
        PlatformEventKind::Created | PlatformEventKind::Deleted => "createdTime",
    };
    let milliseconds = ["ts", own].iter().find_map(|key| milliseconds(source.get(*key)?))?;
    Timestamp::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()
}

pub(super) fn milliseconds(value: &Value) -> Option<i64> {
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    number.filter(|milliseconds| *milliseconds > 0)
}

fn text<'message>(object: &'message Map<String, Value>, key: &str) -> Option<&'message str> {
    object.get(key)?.as_str()
}

fn object(value: &Value) -> Result<&Map<String, Value>, Problem> {
    value.as_object().ok_or_else(problem::invalid_metadata)
}
