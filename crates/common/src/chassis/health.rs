//! Whether a process lives, whether it can work, and what it counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::task::JoinSet;

use super::problem::Problem;

/// What a dependency gets to answer; slower is "not ready".
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// The media type of the exposition (`OpenMetrics` 1.0).
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One thing that a service needs in order to work.
#[async_trait]
pub trait Probe: Send + Sync + 'static {
    /// The name under which `/readyz` shows it, for example `database`.
    fn name(&self) -> &'static str;

    /// Asks whether it can be used now. The reason is shown to anyone who asks: no address, no secret.
    async fn check(&self) -> Result<(), String>;

    /// Says what a person should look at before it fails.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// Serves `/health`, `/livez`, `/readyz` and `/metrics`.
pub fn router(service: &'static str, probes: Vec<Arc<dyn Probe>>, registry: Arc<Registry>) -> Router {
    Router::new()
        .route(
            "/health",
            get(move || async move { Json(Health { status: "ok", service }) }),
        )
        .route("/livez", get(async || Json(Liveness { status: "ok" })))
        .route("/readyz", get(ready).with_state(probes.into()))
        .route("/metrics", get(metrics).with_state(registry))
}

#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    service: &'static str,
}

#[derive(Debug, Serialize)]
struct Liveness {
    status: &'static str,
}

#[derive(Debug, Serialize)]
struct Readiness {
    status: &'static str,
    dependencies: BTreeMap<&'static str, Dependency>,
}

#[derive(Debug, Serialize)]
struct Dependency {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

async fn ready(State(probes): State<Arc<[Arc<dyn Probe>]>>) -> Response {
    let mut running = JoinSet::new();
    for probe in probes.iter().cloned() {
        running.spawn(ask(probe));
    }
    let dependencies: BTreeMap<_, _> = running.join_all().await.into_iter().collect();
    if dependencies.values().all(|dependency| dependency.reason.is_none()) {
        Json(Readiness {
            status: "ok",
            dependencies,
        })
        .into_response()
    } else {
        let readiness = Json(Readiness {
            status: "unavailable",
            dependencies,
        });
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], readiness).into_response()
    }
}

async fn ask(probe: Arc<dyn Probe>) -> (&'static str, Dependency) {
    let answer = tokio::time::timeout(PROBE_DEADLINE, probe.check()).await;
    let dependency = match answer.unwrap_or_else(|_elapsed| Err("no answer in time".to_owned())) {
        Ok(()) => Dependency {
            status: "ok",
            reason: None,
            hint: probe.hint(),
        },
        Err(reason) => Dependency {
            status: "failed",
            reason: Some(reason),
            hint: probe.hint(),
        },
    };
    (probe.name(), dependency)
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Result<Response, Problem> {
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| Problem::internal(&error))?;
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use http::Request;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;

    struct Fixed(&'static str, Result<(), String>);

    #[async_trait]
    impl Probe for Fixed {
        fn name(&self) -> &'static str {
            self.0
        }

        async fn check(&self) -> Result<(), String> {
            self.1.clone()
        }
    }

    struct Silent;

    #[async_trait]
    impl Probe for Silent {
        fn name(&self) -> &'static str {
            "silent"
        }

        async fn check(&self) -> Result<(), String> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_service_is_ready_when_all_that_it_needs_is_there() {
        let (status, answer) = ask_ready(vec![Arc::new(Fixed("database", Ok(())))]).await;

        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            answer,
            json!({"status": "ok", "dependencies": {"database": {"status": "ok"}}})
        );
    }

    #[tokio::test]
    async fn readiness_names_what_fails_and_does_not_wait_for_what_is_silent() {
        let failing = Fixed("database", Err("does not answer".to_owned()));

        let (status, answer) = ask_ready(vec![Arc::new(failing), Arc::new(Silent)]).await;

        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let expected = json!({
            "database": {"status": "failed", "reason": "does not answer"},
            "silent": {"status": "failed", "reason": "no answer in time"},
        });
        assert_eq!(answer["dependencies"], expected);
    }

    #[tokio::test]
    async fn health_says_who_answers() {
        let (status, answer) = get_json(Vec::new(), "/health").await;

        assert_eq!(
            (status, answer),
            (StatusCode::OK, json!({"status": "ok", "service": "demo"}))
        );
    }

    async fn ask_ready(probes: Vec<Arc<dyn Probe>>) -> (StatusCode, Value) {
        get_json(probes, "/readyz").await
    }

    async fn get_json(probes: Vec<Arc<dyn Probe>>, path: &str) -> (StatusCode, Value) {
        let router = router("demo", probes, Arc::new(Registry::default()));
        let response = router
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
            .await
            .unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), 4096).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }
}
