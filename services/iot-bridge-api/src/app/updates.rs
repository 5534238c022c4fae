//! The results of updates, read at the update server and recorded, so that the device platform can be told.
//!
//! Only the update server's own clock counts. A page is recorded together with how far it goes, in one transaction;
//! the next reading begins a little before that, because what is written there at the same time may become visible
//! later, and what is known already is left out.

use std::sync::Arc;
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{Clock, DeviceId, StoreError, System, Timestamp, UpdateLedger, UpdateReport, UpdateStatus};
use tokio_util::sync::CancellationToken;

use super::alignment::AlignError;
use crate::ports::{UpdateServer, UpstreamError};

/// How far before the last known change a reading begins.
const OVERLAP: time::Duration = time::Duration::minutes(1);
/// How far before it a thorough reading begins: the longest that its clock may have been wrong.
const THOROUGH_OVERLAP: time::Duration = time::Duration::hours(24);
/// The longest reading, in pages.
const MAX_PAGES: u32 = 100_000;

/// Reads and records.
pub struct Updates {
    server: Option<Arc<dyn UpdateServer>>,
    ledger: Arc<dyn UpdateLedger>,
    /// Who is told.
    told: Vec<System>,
    clock: Arc<dyn Clock>,
}

/// One step that somebody reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedUpdate {
    /// The update server's number of the update.
    pub action_id: i64,
    /// Of which device.
    pub device_id: DeviceId,
    /// How far it is.
    pub status: UpdateStatus,
    /// What is installed.
    pub subject: Option<String>,
    /// When it came to this, if it said so.
    pub changed_at: Option<Timestamp>,
}

impl Updates {
    /// Reads at this server, when there is one, and has these systems told.
    pub fn new(
        server: Option<Arc<dyn UpdateServer>>,
        ledger: Arc<dyn UpdateLedger>,
        told: Vec<System>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            server,
            ledger,
            told,
            clock,
        }
    }

    /// Reads on a timer, until told to stop.
    pub async fn run(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            match stop.run_until_cancelled(self.read()).await {
                Some(Err(error)) => {
                    tracing::warn!(
                        reason = error_chain(&error),
                        "Cannot read the results of updates; trying again"
                    );
                }
                Some(Ok(0)) | None => {}
                Some(Ok(count)) => tracing::info!(count, "Recorded {count} steps of updates"),
            }
        }
    }

    /// Records what is new; returns how many steps.
    pub async fn read(&self) -> Result<usize, AlignError> {
        self.read_again(OVERLAP).await
    }

    /// As [`read`](Self::read), beginning a day before: finds what a wrong clock hid.
    pub async fn read_thoroughly(&self) -> Result<usize, AlignError> {
        self.read_again(THOROUGH_OVERLAP).await
    }

    /// Records one step that somebody reported; returns whether it was new.
    pub async fn record(&self, reported: ReportedUpdate) -> Result<bool, StoreError> {
        let report = UpdateReport {
            action_id: reported.action_id,
            device_id: reported.device_id,
            status: reported.status,
            subject: reported.subject,
            changed_at: reported.changed_at.unwrap_or_else(|| self.clock.now()),
        };
        let recorded = self.ledger.record_updates(&[report], None, &self.told).await?;
        Ok(recorded > 0)
    }

    /// Returns what one of the update server's words for a status means.
    pub fn status(&self, word: &str) -> Option<UpdateStatus> {
        self.server.as_ref()?.status(word)
    }

    async fn read_again(&self, overlap: time::Duration) -> Result<usize, AlignError> {
        let Some(server) = &self.server else {
            return Ok(0);
        };
        let cursor = self.ledger.update_cursor().await?;
        let mut since = cursor.map_or(Timestamp::UNIX_EPOCH, |cursor| cursor - overlap);
        let (mut skip, mut recorded) = (0, 0);
        for _ in 0..MAX_PAGES {
            let page = server.changes(since, skip).await?;
            recorded += self
                .ledger
                .record_updates(&page.reports, page.last_changed_at, &self.told)
                .await?;
            let Some(last) = page.last_changed_at.filter(|_| page.has_more) else {
                return Ok(recorded);
            };
            // Going on by time and not by number: what changes meanwhile moves to the end, and the rest would move
            // up past us.
            if last > since {
                (since, skip) = (last, 0);
            } else {
                skip += page.length;
            }
        }
        Err(UpstreamError::unexpected(System::UpdateServer, "its list of changes has no end").into())
    }
}

impl std::fmt::Debug for Updates {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Updates")
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
