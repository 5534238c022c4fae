use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::forge::{OTHER_RSA, RSA, b64, clock, good_claims, good_header, jwks, rsa_jwk, rsa_signature, rules, token};
use crate::chassis::http_client::{self, HttpClientOptions};
use crate::chassis::token::{
    EndpointLocation, JwksCache, JwksSettings, KeySource, KeysUnavailable, TokenError, TokenVerifier,
};
use crate::domain::ManualClock;

#[tokio::test]
async fn the_first_token_brings_the_keys() {
    let world = World::start().await;

    assert!(!world.cache.has_keys());
    assert!(world.knows("rsa-1").await);

    assert!(world.cache.has_keys());
    assert_eq!(world.requests(), 1);
}

#[tokio::test]
async fn ten_thousand_unknown_key_ids_cause_one_request() {
    let world = World::start().await;
    world.cache.refresh().await;
    let before = world.requests();

    let mut storm = JoinSet::new();
    for number in 0..10_000 {
        let cache = Arc::clone(&world.cache);
        storm.spawn(async move { cache.find(Some(&format!("unknown-{number}"))).await.unwrap().is_none() });
    }

    assert!(storm.join_all().await.into_iter().all(|unknown| unknown));
    assert_eq!(world.requests() - before, 1);
}

#[tokio::test]
async fn tokens_with_a_wrong_signature_cause_no_request() {
    let world = World::start().await;
    world.cache.refresh().await;
    let before = world.requests();
    let verifier = TokenVerifier::new(rules(), world.cache.clone(), world.clock.clone()).unwrap();
    let good = token(&good_header(), &good_claims());
    let (header_and_claims, _) = good.rsplit_once('.').unwrap();

    assert!(verifier.verify(&good).await.is_ok());
    for number in 0..100 {
        let forged = format!("{header_and_claims}.{}", b64([number; 256]));
        let verdict = verifier.verify(&forged).await;
        assert_eq!(verdict, Err(TokenError::Invalid("the signature does not match")));
    }

    assert_eq!(world.requests(), before);
}

#[tokio::test]
async fn a_rotated_key_works_at_once_and_the_next_one_half_a_minute_later() {
    let world = World::start().await;
    world.cache.refresh().await;

    world.answer(jwks(&[rsa_jwk("rsa-1", &RSA), rsa_jwk("rsa-2", &OTHER_RSA)]));
    assert!(world.knows("rsa-2").await);

    world.answer(jwks(&[rsa_jwk("rsa-1", &RSA), rsa_jwk("rsa-3", &OTHER_RSA)]));
    world.clock.advance(Duration::from_secs(29));
    assert!(!world.knows("rsa-3").await);
    world.clock.advance(Duration::from_secs(1));
    assert!(world.knows("rsa-3").await);
}

#[tokio::test]
async fn a_key_that_the_issuer_removed_is_refused_after_the_next_refresh() {
    let world = World::start().await;
    assert!(world.knows("rsa-1").await);

    world.answer(jwks(&[rsa_jwk("rsa-2", &OTHER_RSA)]));
    assert!(world.cache.refresh().await);

    assert!(!world.knows("rsa-1").await);
}

#[tokio::test]
async fn a_token_that_was_believed_is_judged_again_by_its_time_and_by_the_keys_of_now() {
    let world = World::start().await;
    let verifier = TokenVerifier::new(rules(), world.cache.clone(), world.clock.clone()).unwrap();
    let believed = token(&good_header(), &good_claims());
    let (signed, _) = believed.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", b64(rsa_signature(&OTHER_RSA, signed.as_bytes())));
    let wrong_signature = Err(TokenError::Invalid("the signature does not match"));
    for _ in 0..2 {
        assert!(verifier.verify(&believed).await.is_ok());
        assert_eq!(verifier.verify(&forged).await, wrong_signature);
    }

    world.answer(jwks(&[rsa_jwk("rsa-1", &OTHER_RSA)]));
    assert!(world.cache.refresh().await);
    assert_eq!(verifier.verify(&believed).await, wrong_signature);
    assert!(verifier.verify(&forged).await.is_ok());

    world.clock.advance(Duration::from_mins(10));
    assert_eq!(verifier.verify(&forged).await, Err(TokenError::Invalid("expired")));
}

#[tokio::test]
async fn a_bad_answer_never_replaces_good_keys() {
    let world = World::start().await;
    assert!(world.knows("rsa-1").await);
    let small_set = jwks(&[rsa_jwk("rsa-1", &RSA)]);
    let bad = [
        jwks(&[]),
        jwks(&[json!({"kty": "oct", "kid": "rsa-1", "k": "AAAA"})]),
        jwks(&[rsa_jwk("k", &RSA), rsa_jwk("k", &OTHER_RSA)]),
        "<!doctype html><title>Maintenance</title>".to_owned(),
        small_set.replacen('{', &format!("{{{}", " ".repeat(JwksCache::MAX_BODY_LENGTH)), 1),
    ];
    for body in bad {
        world.answer(body);
        assert!(!world.cache.refresh().await);
        assert!(world.knows("rsa-1").await);
    }
    for status in [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::FOUND,
        StatusCode::NO_CONTENT,
    ] {
        world.script.send_replace(Script::Answer(status, small_set.clone()));
        assert!(!world.cache.refresh().await);
        assert!(world.knows("rsa-1").await);
    }
}

#[tokio::test]
async fn keys_outlive_an_outage_up_to_their_age_limit() {
    let world = World::start().await;
    assert!(world.knows("rsa-1").await);

    world
        .script
        .send_replace(Script::Answer(StatusCode::SERVICE_UNAVAILABLE, String::new()));
    world.clock.advance(Duration::from_hours(1));
    assert!(world.knows("rsa-1").await);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.cache.find(Some("rsa-1")).await.err(), Some(KeysUnavailable));
    assert!(!world.cache.has_keys());

    world.answer(jwks(&[rsa_jwk("rsa-1", &RSA)]));
    world.clock.advance(Duration::from_secs(30));
    assert!(world.knows("rsa-1").await);
}

#[tokio::test]
async fn an_issuer_that_never_answers_costs_the_deadline_and_no_more() {
    let world = World::start().await;
    world.script.send_replace(Script::Silence);
    let cache = JwksCache::new(world.settings(), http_client(), world.clock.clone());
    let cache = cache.with_deadline(Duration::from_millis(50));

    assert_eq!(cache.find(Some("rsa-1")).await.err(), Some(KeysUnavailable));
}

#[tokio::test]
async fn the_address_of_the_keys_is_discovered_once() {
    let world = World::start().await;
    let cache = world.discovering_cache(&world.base);

    assert!(cache.refresh().await);
    assert!(cache.refresh().await);

    let seen = world.seen.lock().unwrap().clone();
    assert_eq!(seen, ["/.well-known/openid-configuration", "/certs", "/certs"]);
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_is_not_followed() {
    let world = World::start().await;
    let cache = world.discovering_cache(&format!("{}/", world.base));

    assert!(!cache.refresh().await);

    assert_eq!(*world.seen.lock().unwrap(), ["/.well-known/openid-configuration"]);
}

#[tokio::test]
async fn the_refresh_task_fetches_at_once_and_ends_when_cancelled() {
    let world = World::start().await;
    let cancel = CancellationToken::new();
    let mut arrivals = world.arrivals.subscribe();
    let mut tasks = JoinSet::new();

    tasks.spawn(Arc::clone(&world.cache).refresh_task(cancel.clone()));
    arrivals.changed().await.unwrap();
    cancel.cancel();

    tasks.join_all().await;
}

/// An issuer that answers what the test says and notes who asked for what.
struct World {
    base: String,
    cache: Arc<JwksCache>,
    clock: Arc<ManualClock>,
    script: watch::Sender<Script>,
    arrivals: watch::Sender<()>,
    seen: Arc<Mutex<Vec<String>>>,
    _server: JoinSet<()>,
}

#[derive(Clone)]
enum Script {
    Answer(StatusCode, String),
    Silence,
}

#[derive(Clone)]
struct Issuer {
    base: String,
    script: watch::Receiver<Script>,
    arrivals: watch::Sender<()>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl World {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (script, receiver) = watch::channel(Script::Answer(StatusCode::OK, jwks(&[rsa_jwk("rsa-1", &RSA)])));
        let (arrivals, seen) = (watch::Sender::new(()), Arc::default());
        let issuer = Issuer {
            base: base.clone(),
            script: receiver,
            arrivals: arrivals.clone(),
            seen: Arc::clone(&seen),
        };
        let mut server = JoinSet::new();
        let router = Router::new().fallback(answer).with_state(issuer);
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let clock = clock();
        let cache = JwksCache::new(settings(&base), http_client(), clock.clone());
        Self {
            base,
            cache: Arc::new(cache),
            clock,
            script,
            arrivals,
            seen,
            _server: server,
        }
    }

    fn settings(&self) -> JwksSettings {
        settings(&self.base)
    }

    fn discovering_cache(&self, issuer: &str) -> JwksCache {
        let location = EndpointLocation::Discovery {
            issuer: issuer.to_owned(),
        };
        JwksCache::new(
            JwksSettings {
                location,
                ..self.settings()
            },
            http_client(),
            self.clock.clone(),
        )
    }

    fn answer(&self, body: String) {
        self.script.send_replace(Script::Answer(StatusCode::OK, body));
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    async fn knows(&self, key_id: &str) -> bool {
        self.cache.find(Some(key_id)).await.unwrap().is_some()
    }
}

fn settings(base: &str) -> JwksSettings {
    let location = EndpointLocation::Url(format!("{base}/certs").parse().unwrap());
    JwksSettings {
        location,
        max_age: JwksSettings::DEFAULT_MAX_AGE,
    }
}

fn http_client() -> reqwest::Client {
    http_client::build(&HttpClientOptions::default()).unwrap()
}

async fn answer(State(issuer): State<Issuer>, request: Request) -> Response {
    issuer.seen.lock().unwrap().push(request.uri().path().to_owned());
    issuer.arrivals.send_replace(());
    if request.uri().path().starts_with("/.well-known") {
        let base = issuer.base;
        return json!({"issuer": base, "jwks_uri": format!("{base}/certs")})
            .to_string()
            .into_response();
    }
    let script = issuer.script.borrow().clone();
    match script {
        Script::Answer(status, body) => (status, body).into_response(),
        Script::Silence => std::future::pending().await,
    }
}
