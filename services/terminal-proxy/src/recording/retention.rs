use std::sync::Arc;
use std::time::Duration;

use common::domain::Clock;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::ports::RecordingShelf;

/// How often old recordings are looked for.
const PERIOD: Duration = Duration::from_hours(1);

/// Removes recordings when their time is over.
#[derive(Clone)]
pub(crate) struct Retention {
    shelf: Arc<dyn RecordingShelf>,
    clock: Arc<dyn Clock>,
    kept_for: Duration,
}

impl Retention {
    pub(crate) fn new(shelf: Arc<dyn RecordingShelf>, clock: Arc<dyn Clock>, kept_for: Duration) -> Self {
        Self { shelf, clock, kept_for }
    }

    /// Looks now and every hour, until the drain begins.
    pub(crate) async fn tidy_up(self, drain: CancellationToken) {
        let mut period = interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = drain.cancelled() => return,
                _ = period.tick() => self.look().await,
            }
        }
    }

    async fn look(&self) {
        match self.shelf.remove_before(self.clock.now() - self.kept_for).await {
            Ok(0) => {}
            Ok(removed) => info!(recordings = removed, "Removed {removed} recordings whose time was over"),
            Err(error) => warn!(%error, "Old recordings cannot be removed"),
        }
    }
}
