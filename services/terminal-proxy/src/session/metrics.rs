use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::relay::Relayed;

/// What is counted about sessions; no label has more values than there are endings.
#[derive(Debug, Default)]
pub(super) struct SessionMetrics {
    pub(super) live: Gauge,
    ended: Family<EndedLabels, Counter>,
    output_bytes: Counter,
    input_bytes: Counter,
    dropped_messages: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndedLabels {
    reason: &'static str,
}

impl SessionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("terminal_sessions", "Sessions that hold a seat", metrics.live.clone());
        registry.register(
            "terminal_sessions_ended",
            "Ended sessions by reason",
            metrics.ended.clone(),
        );
        registry.register(
            "terminal_output_bytes",
            "Bytes from devices to browsers",
            metrics.output_bytes.clone(),
        );
        registry.register(
            "terminal_input_bytes",
            "Bytes from browsers",
            metrics.input_bytes.clone(),
        );
        registry.register(
            "terminal_dropped_messages",
            "Messages of browsers that ttyd would not understand",
            metrics.dropped_messages.clone(),
        );
        metrics
    }

    pub(super) fn count_refused(&self, reason: &'static str) {
        self.ended.get_or_create(&EndedLabels { reason }).inc();
    }

    pub(super) fn count(&self, relayed: &Relayed) {
        self.count_refused(relayed.ending.reason());
        self.output_bytes.inc_by(relayed.output_bytes);
        self.input_bytes.inc_by(relayed.input_bytes);
        self.dropped_messages.inc_by(relayed.dropped_messages);
    }
}
