//! What step-ca is asked for once. While it cannot be had, those who wait for it share one failure: otherwise they would
//! ask one after the other, and each would wait for all who came before.

use std::sync::Arc;

use common::chassis::problem::error_chain;
use common::domain::Timestamp;

use crate::ports::{BoxedError, UpstreamError};

/// For how long nobody asks again: it would come as it came.
const PAUSE: time::Duration = time::Duration::seconds(1);

/// Something that is kept once it was had.
pub(super) struct Kept<T> {
    value: Option<Arc<T>>,
    came_at: Option<Timestamp>,
    failed: Option<(Timestamp, UpstreamError)>,
}

/// What those hear who ask right after it could not be had.
#[derive(Debug, thiserror::Error)]
#[error("a moment ago: {0}")]
struct FailedBefore(String);

impl<T> Kept<T> {
    pub(super) fn new(value: Option<T>) -> Self {
        Self {
            value: value.map(Arc::new),
            came_at: None,
            failed: None,
        }
    }

    pub(super) fn value(&self) -> Option<Arc<T>> {
        self.value.clone()
    }

    /// Takes what came of asking for it; when it could not be had, what was had before stays.
    pub(super) fn keep(&mut self, came: Result<T, UpstreamError>, now: Timestamp) -> Result<Arc<T>, UpstreamError> {
        self.failed = came.as_ref().err().map(|error| (now, again(error)));
        let value = Arc::new(came?);
        (self.value, self.came_at) = (Some(Arc::clone(&value)), Some(now));
        Ok(value)
    }

    /// Returns why it cannot be had, as long as nobody should ask again.
    pub(super) fn failure(&self, now: Timestamp) -> Option<UpstreamError> {
        let (at, error) = self.failed.as_ref()?;
        is_recent(*at, now, PAUSE).then(|| again(error))
    }

    /// Forgets what was had, so that it is asked for again, unless it came a moment ago.
    pub(super) fn forget(&mut self, now: Timestamp) {
        if !self.came_at.is_some_and(|at| is_recent(at, now, PAUSE)) {
            *self = Self::new(None);
        }
    }
}

/// Whether something was less than so long ago. After the clock was set back nothing counts as recent that seems to be
/// further ahead: it would for as long as the clock was wrong.
pub(super) fn is_recent(at: Timestamp, now: Timestamp, period: time::Duration) -> bool {
    (now - at).abs() < period
}

/// An error that asks for the same reaction.
fn again(error: &UpstreamError) -> UpstreamError {
    match error {
        UpstreamError::Unavailable { system, source } => UpstreamError::unavailable(*system, before(source)),
        UpstreamError::Refused { system, source } => UpstreamError::refused(*system, before(source)),
        UpstreamError::Unexpected { system, source } => UpstreamError::unexpected(*system, before(source)),
    }
}

fn before(source: &BoxedError) -> BoxedError {
    match source.downcast_ref() {
        Some(FailedBefore(words)) => FailedBefore(words.clone()),
        None => FailedBefore(error_chain(source.as_ref())),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use common::domain::System;
    use time::macros::datetime;

    use super::*;

    const NOW: Timestamp = datetime!(2026-05-01 12:00 UTC);

    #[derive(Debug, thiserror::Error)]
    #[error("the request could not be sent")]
    struct NotSent(#[source] std::fmt::Error);

    #[test]
    fn who_asks_a_moment_later_hears_the_whole_reason() {
        let failure = UpstreamError::unavailable(System::CertificateAuthority, NotSent(std::fmt::Error));
        let reason = error_chain(&NotSent(std::fmt::Error));
        let mut kept = Kept::<()>::new(None);
        kept.keep(Err(failure), NOW).unwrap_err();

        let heard = error_chain(&kept.failure(NOW).unwrap());

        assert!(heard.ends_with(&format!("a moment ago: {reason}")), "{heard}");
    }
}
