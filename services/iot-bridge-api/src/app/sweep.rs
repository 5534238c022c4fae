//! The neighbours compared with the database, device by device, in both directions.
//!
//! What is found is shown, and healed by the same orders as everything else. What is no device of ours is shown and
//! left alone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{
    Actor, Clock, DeviceDirectory, DeviceFilter, DeviceState, DeviceView, Drift, DriftKind, DriftLedger, DriftReport,
    EventInbox, StoreError, System,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio_util::sync::CancellationToken;

use super::alignment::AlignError;
use super::neighbours::{Neighbours, is_expected};
use super::updates::Updates;
use crate::ports::Neighbour;

/// Devices that are read at once.
const PAGE: u16 = 500;
/// Devices that are compared at once.
const ABREAST: usize = 16;
/// Repairs that are ordered in one transaction.
const BATCH: usize = 100;
/// How long facts and told results are kept, for whoever looks for them and to know repetitions.
const KEPT: time::Duration = time::Duration::days(30);
/// The name of the right to compare.
const LEASE: &str = "sweep";
/// How soon a neighbour that was away is compared: it may just have come up, or come back from a backup.
const AGAIN: Duration = Duration::from_mins(1);

/// Compares.
pub struct Sweep {
    parts: SweepParts,
    /// Who could not be compared the last time.
    away: Mutex<Vec<System>>,
}

/// What [`Sweep`] is built from.
pub struct SweepParts {
    /// Where devices are read.
    pub directory: Arc<dyn DeviceDirectory>,
    /// Where differences are recorded.
    pub ledger: Arc<dyn DriftLedger>,
    /// Where old facts are forgotten.
    pub inbox: Arc<dyn EventInbox>,
    /// Whom the database is compared with.
    pub neighbours: Arc<Neighbours>,
    /// The results of updates, which are read thoroughly at the same time.
    pub updates: Arc<Updates>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Sweep {
    /// Prepares to compare.
    pub fn new(parts: SweepParts) -> Self {
        Self {
            parts,
            away: Mutex::default(),
        }
    }

    /// Compares and heals on a timer, until told to stop; of all processes one does it at a time, and the one that stops
    /// lets another one.
    pub async fn run(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let again = async {
                tokio::time::sleep(AGAIN).await;
                self.sweep_again().await
            };
            tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {
                    let ours = self.parts.ledger.take_lease(LEASE, every + every / 2).await;
                    if ours.is_ok_and(|ours| ours) {
                        stop.run_until_cancelled(self.sweep()).await;
                    }
                }
                _ordered = again, if self.has_away() => {}
            }
        }
        if let Err(error) = self.parts.ledger.end_lease(LEASE).await {
            tracing::warn!(
                error = error_chain(&error),
                "Nobody compares before our right to it is over"
            );
        }
    }

    /// Compares every neighbour once, and orders what is wrong to be put right; returns how many repairs were
    /// ordered. A neighbour that is away is compared as soon as it is back.
    pub async fn sweep(&self) -> usize {
        let ordered = self.sweep_these(self.parts.neighbours.systems()).await;
        if let Err(error) = self.parts.updates.read_thoroughly().await {
            tracing::warn!(
                reason = error_chain(&error),
                "Cannot read the results of updates thoroughly"
            );
        }
        let before = self.parts.clock.now() - KEPT;
        if let Err(error) = self.parts.inbox.forget_before(before).await {
            tracing::warn!(error = error_chain(&error), "Cannot forget old facts");
        }
        ordered
    }

    /// As [`sweep`](Self::sweep), with those alone that were away then.
    pub async fn sweep_again(&self) -> usize {
        let away = self.away().clone();
        self.sweep_these(away).await
    }

    async fn sweep_these(&self, systems: impl IntoIterator<Item = System>) -> usize {
        let (mut ordered, mut away) = (0, Vec::new());
        for system in systems {
            match self.sweep_one(system).await {
                Ok(count) => ordered += count,
                Err(error) => {
                    let reason = error_chain(&error);
                    tracing::warn!(reason, "Cannot compare {} with the database", system.as_str());
                    away.push(system);
                }
            }
        }
        *self.away() = away;
        ordered
    }

    fn has_away(&self) -> bool {
        !self.away().is_empty()
    }

    fn away(&self) -> MutexGuard<'_, Vec<System>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the last comparisons found.
    pub async fn report(&self) -> Result<DriftReport, StoreError> {
        self.parts.ledger.drift().await
    }

    /// Orders everything that the last comparisons found to be put right; returns how many repairs.
    pub async fn apply(&self, by: &Actor) -> Result<usize, StoreError> {
        let report = self.report().await?;
        self.order(&report.drifts, by).await
    }

    async fn sweep_one(&self, system: System) -> Result<usize, AlignError> {
        let drifts = self.compare(system).await?;
        self.parts.ledger.record_drift(system, &drifts).await?;
        let ordered = self.order(&drifts, &Actor::Bridge).await?;
        if !drifts.is_empty() {
            let found = drifts.len();
            tracing::warn!(found, ordered, "{} differed from the database", system.as_str());
        }
        Ok(ordered)
    }

    async fn order(&self, drifts: &[Drift], by: &Actor) -> Result<usize, StoreError> {
        let mut ordered = 0;
        for batch in drifts.chunks(BATCH) {
            ordered += self.parts.ledger.order_repairs(batch, by).await?;
        }
        Ok(ordered)
    }

    /// Finds every difference. The neighbour's names are read first: what is missing then and is on record after
    /// that may be a device that enrolls right now, and telling a neighbour twice does no harm.
    async fn compare(&self, system: System) -> Result<Vec<Drift>, AlignError> {
        let Some(neighbour) = self.parts.neighbours.find(system) else {
            return Ok(Vec::new());
        };
        let mut strangers: HashSet<String> = neighbour.names().await?.into_iter().collect();
        let mut drifts = Vec::new();
        let mut filter = DeviceFilter {
            limit: PAGE,
            ..DeviceFilter::default()
        };
        loop {
            let page = self.parts.directory.list(&filter).await?;
            let views = page.views.into_iter();
            let views = views.map(|view| (strangers.remove(view.device.id.as_str()), view));
            let views: Vec<_> = views.collect();
            let found = stream::iter(views)
                .map(|(is_present, view)| self.examine(system, Arc::clone(&neighbour), view, is_present))
                .buffered(ABREAST)
                .try_concat()
                .await?;
            drifts.extend(found);
            let Some(next) = page.next else { break };
            filter.after = Some(next);
        }
        drifts.extend(
            strangers
                .into_iter()
                .map(|name| drift(system, name, DriftKind::Foreign)),
        );
        Ok(drifts)
    }

    async fn examine(
        &self,
        system: System,
        neighbour: Arc<dyn Neighbour>,
        view: DeviceView,
        is_present: bool,
    ) -> Result<Vec<Drift>, AlignError> {
        let id = &view.device.id;
        let kinds = match view.device.state {
            DeviceState::Enrolled if is_present => match self.parts.neighbours.passport(&view).await? {
                Some(passport) => neighbour.differences(&passport).await?,
                None => Vec::new(),
            },
            DeviceState::Enrolled if is_expected(system, &view) => vec![DriftKind::Missing],
            DeviceState::Quarantined if is_present && neighbour.admits(id).await? => vec![DriftKind::ShutOutPresent],
            DeviceState::Retired if is_present => vec![DriftKind::ShutOutPresent],
            DeviceState::Admitted | DeviceState::Enrolled | DeviceState::Quarantined | DeviceState::Retired => {
                Vec::new()
            }
        };
        Ok(kinds
            .into_iter()
            .map(|kind| drift(system, id.to_string(), kind))
            .collect())
    }
}

fn drift(system: System, name: String, kind: DriftKind) -> Drift {
    Drift { system, name, kind }
}

impl std::fmt::Debug for Sweep {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Sweep").field(&self.parts.neighbours).finish()
    }
}

impl std::fmt::Debug for SweepParts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("SweepParts").field(&self.neighbours).finish()
    }
}
