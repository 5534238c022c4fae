//! How much is left to tell other systems, as metrics.

use std::sync::Arc;
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{Clock, JobQueue, JobState, StoreError, System};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio_util::sync::CancellationToken;

/// How often it is counted.
const COUNT_EVERY: Duration = Duration::from_secs(15);

/// Counts orders.
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
                tracing::debug!(error = error_chain(&error), "Cannot count the orders; trying again");
            }
        }
    }

    /// Counts once.
    pub async fn count(&self) -> Result<(), StoreError> {
        let (counts, now) = (self.queue.count_jobs().await?, self.clock.now());
        for system in &self.systems {
            let of_system = || counts.iter().filter(|count| count.system == *system);
            let name = system.as_str();
            for state in [JobState::Pending, JobState::Dead] {
                let labels = OrderLabels {
                    system: name,
                    state: state.as_str(),
                };
                let count = of_system().find(|count| count.state == state);
                self.orders
                    .get_or_create(&labels)
                    .set(count.map_or(0, |count| count.count));
            }
            let oldest = of_system().map(|count| count.oldest).min();
            self.oldest
                .get_or_create(&SystemLabels { system: name })
                .set(oldest.map_or(0, |oldest| (now - oldest).whole_seconds()));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Backlog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Backlog").field(&self.systems).finish()
    }
}
