//! How much is left to tell other systems, as metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{Clock, JobQueue, JobState, StoreError, System};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio_util::sync::CancellationToken;

/// How often it is counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Counts orders. Of more than 1000 the oldest 1000 are counted.
pub struct Backlog {
    queue: Arc<dyn JobQueue>,
    clock: Arc<dyn Clock>,
    systems: Vec<System>,
    orders: Family<OrderLabels, Gauge>,
    oldest: Family<SystemLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OrderLabels {
    system: &'static str,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SystemLabels {
    system: &'static str,
}

impl Backlog {
    /// Counts the orders for these systems, and registers the metrics.
    pub fn new(queue: Arc<dyn JobQueue>, clock: Arc<dyn Clock>, systems: Vec<System>, registry: &mut Registry) -> Self {
        let (orders, oldest) = (Family::default(), Family::default());
        registry.register(
            "orders",
            "What is still to be told to other systems, by system and state",
            Family::clone(&orders),
        );
        registry.register_with_unit(
            "oldest_order_age",
            "How long the oldest order of a system has waited",
            Unit::Seconds,
            Family::clone(&oldest),
        );
        Self {
            queue,
            clock,
            systems,
            orders,
            oldest,
        }
    }

    /// Counts on a timer, until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(COUNT_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.count().await {
                tracing::debug!(%error, "Cannot count the orders; trying again");
            }
        }
    }

    /// Counts once.
    pub async fn count(&self) -> Result<(), StoreError> {
        let (jobs, now) = (self.queue.jobs(None).await?, self.clock.now());
        let (mut counts, mut ages): (BTreeMap<_, i64>, BTreeMap<_, i64>) = (BTreeMap::new(), BTreeMap::new());
        for job in &jobs {
            *counts.entry((job.system, job.state.as_str())).or_default() += 1;
            let age = (now - job.created_at).whole_seconds();
            let oldest = ages.entry(job.system).or_default();
            *oldest = age.max(*oldest);
        }
        for system in &self.systems {
            let name = system.as_str();
            for state in [JobState::Pending, JobState::Dead] {
                let labels = OrderLabels {
                    system: name,
                    state: state.as_str(),
                };
                let count = counts.get(&(*system, state.as_str())).copied();
                self.orders.get_or_create(&labels).set(count.unwrap_or(0));
            }
            let age = ages.get(system).copied();
            self.oldest
                .get_or_create(&SystemLabels { system: name })
                .set(age.unwrap_or(0));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Backlog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Backlog").field(&self.systems).finish()
    }
}
