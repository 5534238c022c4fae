//! What other systems tell us: recorded, then answered. 2xx means that it is durable.

mod message;
mod metadata;
mod news;
mod sender;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use common::chassis::problem::Problem;
use common::domain::EventOutcome;
use http::StatusCode;
use serde::Serialize;

use self::message::Message;
use self::news::News;
use self::sender::{PlatformSender, UpdatesSender};
use super::problem;
use crate::app::events::{Events, ReportedEvent};
use crate::app::updates::Updates;

/// Reads what the device platform sends; none when it does not matter here. It is what [`platform`] does before it
/// records anything.
pub fn platform_event(body: &[u8]) -> Result<Option<ReportedEvent>, Problem> {
    Message::parse(body)?.event()
}

/// What became of a message.
#[derive(Serialize)]
pub(super) struct Receipt {
    status: &'static str,
}

type Answer = (StatusCode, Json<Receipt>);

/// `POST /webhooks/thingsboard`.
pub(super) async fn platform(
    _sender: PlatformSender,
    State(events): State<Arc<Events>>,
    message: Message,
) -> Result<Answer, Problem> {
    let Some(event) = message.event()? else {
        return Ok(receipt(StatusCode::ACCEPTED, "ignored"));
    };
    let outcome = events.record(event).await.map_err(problem::store)?;
    Ok(match outcome {
        EventOutcome::Recorded => receipt(StatusCode::ACCEPTED, "recorded"),
        EventOutcome::NobodyOfOurs => receipt(StatusCode::ACCEPTED, "recorded-without-effect"),
        EventOutcome::Duplicate => receipt(StatusCode::OK, "duplicate"),
    })
}

/// `POST /webhooks/hawkbit`.
pub(super) async fn updates(
    _sender: UpdatesSender,
    State(updates): State<Arc<Updates>>,
    news: News,
) -> Result<Answer, Problem> {
    let Some(status) = updates.status(&news.status) else {
        return Ok(receipt(StatusCode::ACCEPTED, "ignored"));
    };
    let is_new = updates.record(news.into_report(status)).await.map_err(problem::store)?;
    Ok(if is_new {
        receipt(StatusCode::ACCEPTED, "recorded")
    } else {
        receipt(StatusCode::OK, "duplicate")
    })
}

fn receipt(status: StatusCode, word: &'static str) -> Answer {
    tracing::debug!(outcome = word, "Took a message in");
    (status, Json(Receipt { status: word }))
}
