//! What happens around every request of every service, in one place.

mod delivery;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use http_body_util::Limited;
use tracing::Instrument as _;
use uuid::Uuid;

use self::delivery::Delivery;
use super::client_address::{ClientAddress, TrustedProxies};
use super::metrics::HttpMetrics;
use super::problem::Problem;

/// Routes that machines poll; they are logged at debug level.
const POLLED_ROUTES: [&str; 4] = ["/health", "/livez", "/readyz", "/metrics"];

/// Route label of a request that no route matched.
const NO_ROUTE: &str = "none";

/// What a service lets a request cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest body, in bytes; more is 413.
    pub body_bytes: usize,
    /// Longest path and query, in bytes; more is 414.
    pub uri_bytes: usize,
    /// From the head of a request to the head of its answer; more is 408 where the client keeps its body back, else
    /// 503. An upgraded connection has been answered and may live on.
    pub answer_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 64 * 1024,
            uri_bytes: 4 * 1024,
            answer_within: Duration::from_secs(30),
        }
    }
}

/// What the layers are made of.
#[derive(Debug, Clone)]
pub struct Layers {
    /// What a request may cost.
    pub limits: Limits,
    /// Where requests are counted.
    pub metrics: HttpMetrics,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
}

/// The name of one request, in our log and in the `x-request-id` of its answer. What a client sends under
/// that name is ignored.
#[derive(Debug, Clone, Copy)]
struct RequestId(Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

/// Does around a complete router what every service does: request id, log line, metrics, security headers, panics and
/// bare errors as problem documents, limits, the client's address. It is one layer: each costs every request a copy of
/// all that is within.
pub fn standard(router: Router, layers: Layers) -> Router {
    router.layer(from_fn_with_state(Arc::new(layers), observe))
}

async fn observe(State(layers): State<Arc<Layers>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId(Uuid::now_v7());
    let client = layers
        .trusted_proxies
        .client_address(request.extensions(), request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let method = method_name(request.method());
    request.extensions_mut().insert(client);
    let span = tracing::info_span!("request", request.id = %id);

    let answer = AssertUnwindSafe(answer(layers.limits, request, next)).catch_unwind();
    // The panic hook has logged where it happened.
    let answer = answer
        .instrument(span.clone())
        .await
        .unwrap_or_else(|_payload| Err(Problem::internal_logged()));
    let mut response = answer.into_response();

    let problem = finish_problem(&mut response, id);
    set_headers(response.headers_mut(), id);
    let took = started.elapsed();
    layers.metrics.count_request(route, method, response.status(), took);
    span.in_scope(|| {
        log_request(&Line {
            method,
            route,
            status: response.status(),
            took,
            client,
            problem,
        });
    });
    response
}

/// Everything about a request that may be logged: no path, no query, no header, no body.
struct Line<'a> {
    method: &'static str,
    route: &'a str,
    status: StatusCode,
    took: Duration,
    client: ClientAddress,
    problem: Option<&'static str>,
}

fn log_request(line: &Line<'_>) {
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                http.method = line.method,
                http.route = line.route,
                http.status = line.status.as_u16(),
                duration_ms = u64::try_from(line.took.as_millis()).unwrap_or(u64::MAX),
                client.address = %line.client.0,
                problem = line.problem,
                "Answered {} {} with {}", line.method, line.route, line.status.as_u16(),
            )
        };
    }
    if POLLED_ROUTES.contains(&line.route) {
        log!(debug);
    } else {
        log!(info);
    }
}

/// Any other method is one for the log and the metrics: the caller could invent thousands.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| method == *known).unwrap_or("other")
}

/// Gives a problem its request id, and makes one of an error that is bare text, as the framework answers
/// unknown routes, wrong methods and parameters that it cannot read. Returns the slug.
fn finish_problem(response: &mut Response, id: RequestId) -> Option<&'static str> {
    let known = response.extensions_mut().remove::<Problem>();
    let problem = known.or_else(|| is_bare_error(response).then(|| Problem::of_status(response.status())))?;
    problem.write_into(response, Some(&id.to_string()));
    Some(problem.slug())
}

fn is_bare_error(response: &Response) -> bool {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    failed && content_type.is_none_or(|media_type| media_type.starts_with(b"text/plain"))
}

fn set_headers(headers: &mut HeaderMap, id: RequestId) {
    let id = HeaderValue::from_str(&id.to_string()).expect("a UUID is made of hex digits and hyphens");
    headers.insert("x-request-id", id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("no-referrer"));
}

/// Answers within the limits.
async fn answer(limits: Limits, request: Request, next: Next) -> Result<Response, Problem> {
    if !names_one_host(&request) {
        return Err(Problem::bad_request().with_detail("The request must have one `Host`."));
    }
    if request
        .uri()
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > limits.uri_bytes)
    {
        return Err(Problem::uri_too_long());
    }
    if request.headers().contains_key(CONTENT_ENCODING) {
        return Err(Problem::unsupported_encoding());
    }
    if announced_length(request.headers()).is_some_and(|length| length > limits.body_bytes) {
        return Err(Problem::payload_too_large());
    }
    let delivery = Delivery::default();
    let request = request.map(|body| limit(body, limits.body_bytes, &delivery));
    let answer = tokio::time::timeout(limits.answer_within, next.run(request)).await;
    answer.map_err(|_elapsed| {
        if delivery.is_awaited() {
            Problem::request_timeout()
        } else {
            Problem::unavailable(Duration::from_secs(1))
        }
    })
}

/// Whether `Host` is there once and may be a host (RFC 9112 §3.2); a request of HTTP/1.0 may go without.
fn names_one_host(request: &Request) -> bool {
    let mut lines = request.headers().get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) => request.version() < Version::HTTP_11,
        (Some(host), None) => host.is_empty() || is_host(host),
        (Some(_), Some(_)) => false,
    }
}

fn is_host(value: &HeaderValue) -> bool {
    let authority = Authority::try_from(value.as_bytes());
    authority.is_ok_and(|authority| !authority.as_str().contains('@'))
}

/// Most requests have no body at all.
fn limit(body: Body, body_bytes: usize, delivery: &Delivery) -> Body {
    if body.is_end_stream() {
        body
    } else {
        Body::new(Limited::new(delivery.follow(body), body_bytes))
    }
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
