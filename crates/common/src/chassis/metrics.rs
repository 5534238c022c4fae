//! What every service counts about itself.

use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds in seconds: from a cached answer to the request timeout.
const LATENCY_BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// The counters of requests and connections; clones count into the same place.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram>,
    open_connections: Gauge,
}

/// Every label has few values: routes are templates, methods and status classes are fixed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

impl HttpMetrics {
    /// Registers the metrics of a service, and its name and version as `build_info`.
    pub fn register(registry: &mut Registry, service: &'static str, version: &'static str) -> Self {
        let metrics = Self {
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            open_connections: Gauge::default(),
        };
        registry.register(
            "http_requests",
            "Requests by route, method and class of status",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from the head of a request to the head of its answer",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register(
            "http_open_connections",
            "Open sockets, upgraded ones included",
            metrics.open_connections.clone(),
        );
        registry.register(
            "build",
            "What runs here",
            Info::new([("service", service), ("version", version)]),
        );
        metrics
    }

    /// Counts one answered request.
    pub(super) fn count_request(&self, route: &str, method: &'static str, status: StatusCode, took: Duration) {
        let status = status_class(status);
        self.requests
            .get_or_create(&RequestLabels {
                route: route.to_owned(),
                method,
                status,
            })
            .inc();
        self.latency
            .get_or_create(&RouteLabels {
                route: route.to_owned(),
            })
            .observe(took.as_secs_f64());
    }

    /// The number of open sockets.
    pub(super) fn open_connections(&self) -> &Gauge {
        &self.open_connections
    }
}

fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn a_request_is_counted_under_its_route_and_not_under_its_path() {
        let mut registry = Registry::default();
        let metrics = HttpMetrics::register(&mut registry, "demo", "1.2.3");

        metrics.count_request("/devices/{id}", "GET", StatusCode::NOT_FOUND, Duration::from_millis(3));

        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(
            text.contains(r#"http_requests_total{route="/devices/{id}",method="GET",status="4xx"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"http_request_duration_seconds_bucket{le="0.005",route="/devices/{id}"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"build_info{service="demo",version="1.2.3"} 1"#),
            "{text}"
        );
    }
}
