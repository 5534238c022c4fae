//! Refusals that somebody can cause as often as they like are put on record once a minute each, with how often there were
//! more of the kind.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::domain::DeviceId;
use tokio::time::Instant;

/// How long a refusal stands for all of its kind.
const PERIOD: Duration = Duration::from_mins(1);

/// Most kinds remembered at once; then those forget that are over.
const MAX_KINDS: usize = 4096;

/// Who was refused what, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) subject: String,
    pub(super) device_id: DeviceId,
    pub(super) reason: &'static str,
}

/// What was put on record lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    recent: Mutex<HashMap<Kind, Recent>>,
}

#[derive(Debug)]
struct Recent {
    since: Instant,
    unrecorded: u64,
}

impl Refusals {
    /// Whether a refusal is due on record, and then how many of its kind there were since the last record.
    pub(super) fn due(&self, kind: Kind) -> Option<u64> {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MAX_KINDS {
            recent.retain(|_, recent| now - recent.since < PERIOD);
        }
        let entry = recent.entry(kind);
        let is_new = matches!(entry, std::collections::hash_map::Entry::Vacant(_));
        let known = entry.or_insert(Recent {
            since: now,
            unrecorded: 0,
        });
        if is_new {
            return Some(0);
        }
        if now - known.since < PERIOD {
            known.unrecorded += 1;
            return None;
        }
        known.since = now;
        Some(std::mem::take(&mut known.unrecorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_of_a_kind_is_due_and_the_others_are_counted_for_a_minute() {
        let refusals = Refusals::default();
        let kind = |reason| Kind {
            subject: "4711".to_owned(),
            device_id: "pump-7".parse().unwrap(),
            reason,
        };

        assert_eq!(refusals.due(kind("device_busy")), Some(0));
        assert_eq!(refusals.due(kind("device_busy")), None);
        assert_eq!(refusals.due(kind("at_capacity")), Some(0));
        assert_eq!(refusals.due(kind("device_busy")), None);
        tokio::time::advance(PERIOD).await;
        assert_eq!(refusals.due(kind("device_busy")), Some(2));
        assert_eq!(refusals.due(kind("device_busy")), None);
    }
}
