//! What an authority publishes beside its roots: intermediates, provisioners, the revocation list.

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use common::domain::{Digest, ManualClock};
use http::StatusCode;
use iot_bridge_api::adapters::step_ca::{ProvisionerSecret, RootFingerprint, StepCa, StepCaOptions};
use iot_bridge_api::ports::{CertificateAuthority as _, UpstreamError};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Server, World, clock, intent};
use crate::support::{NOW, TestCa};

/// The revocation list, who asked for it, and how often somebody asked for what else there is.
#[derive(Default)]
pub(crate) struct List {
    comes: Mutex<Comes>,
    asked: Notify,
    pub(super) others_asked: AtomicUsize,
}

#[derive(Default, Clone, Copy)]
enum Comes {
    /// It is switched off, as it is unless somebody wants it.
    #[default]
    Off,
    Never,
    WithBytes(usize),
}

/// Encrypted with `correct horse battery staple`.
const JWE: &str = include_str!("../../../src/adapters/step_ca/provisioner/key.jwe");

#[tokio::test]
async fn the_provisioner_is_found_on_a_later_page() {
    let world = World::new().await;
    let of_name = |provisioner: &str| {
        let options = StepCaOptions {
            provisioner: provisioner.to_owned(),
            secret: ProvisionerSecret::Password("correct horse battery staple".into()),
            ..world.options()
        };
        StepCa::new(options, clock())
    };

    of_name("iot-bridge").sign(&intent("pump-7")).await.unwrap();
    let unknown = of_name("nobody").sign(&intent("pump-7")).await;

    assert_eq!(world.server.tokens.lock().unwrap()[0]["iss"], "iot-bridge");
    assert!(matches!(unknown, Err(UpstreamError::Unexpected { .. })), "{unknown:?}");
    assert_eq!(world.server.tokens.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_authority_that_signs_nothing_for_us_is_not_well_and_nobody_asks_it_over_and_over() {
    let provisioner = ProvisionerSecret::Password("incorrect horse".into());
    let stranger = vec![RootFingerprint::parse(&Digest::of(b"another").to_string()).unwrap()];
    let world = World::new().await;
    world.server.is_exact.store(true, Ordering::Relaxed);
    for options in [
        StepCaOptions {
            secret: provisioner,
            ..world.options()
        },
        StepCaOptions {
            fingerprints: stranger,
            ..world.options()
        },
    ] {
        let clock = Arc::new(ManualClock::new(NOW));
        let adapter = StepCa::new(options, clock.clone());
        let asked = || world.server.list.others_asked.load(Ordering::Relaxed);
        let ask = async || {
            let health = adapter.health().await;
            assert!(matches!(health, Err(UpstreamError::Unexpected { .. })), "{health:?}");
            asked()
        };

        let (first, second) = (ask().await, ask().await);
        clock.advance(Duration::from_secs(1));
        let later = ask().await;

        assert_eq!(first, second);
        assert!(later > second, "it is asked again when it may be well");
    }
}

#[tokio::test]
async fn a_provisioners_key_that_was_fetched_a_moment_ago_is_not_fetched_again() {
    let world = World::new().await;
    let clock = Arc::new(ManualClock::new(NOW));
    let options = StepCaOptions {
        secret: ProvisionerSecret::Password("correct horse battery staple".into()),
        ..world.options()
    };
    let adapter = StepCa::new(options, clock.clone());
    let asked = async || {
        let before = world.server.list.others_asked.load(Ordering::Relaxed);
        *world.server.refuse.lock().unwrap() = vec![StatusCode::UNAUTHORIZED; 2];
        let refused = adapter.sign(&intent("pump-7")).await;
        assert!(matches!(refused, Err(UpstreamError::Unexpected { .. })), "{refused:?}");
        world.server.list.others_asked.load(Ordering::Relaxed) - before
    };

    let (first, second) = (asked().await, asked().await);
    clock.advance(Duration::from_secs(1));
    let later = asked().await;

    assert_eq!(
        (first, second, later),
        (3, 0, 2),
        "a root, and the two pages with the key"
    );
}

#[tokio::test]
async fn an_intermediate_that_comes_into_use_is_known_soon_after_it_has_signed() {
    let world = World::new().await;
    let before = TestCa::new(clock()).intermediate_pem();
    *world.server.other_intermediate.lock().unwrap() = Some(before.clone());
    let clock = Arc::new(ManualClock::new(NOW));
    let adapter = StepCa::new(world.options(), clock.clone());
    assert_eq!(adapter.intermediates().await.unwrap(), before);

    *world.server.other_intermediate.lock().unwrap() = None;
    clock.advance(Duration::from_mins(1));
    assert_eq!(
        adapter.intermediates().await.unwrap(),
        before,
        "nobody asks for nothing"
    );
    adapter.sign(&intent("pump-7")).await.unwrap();

    assert_eq!(
        adapter.intermediates().await.unwrap(),
        world.server.ca.intermediate_pem()
    );
}

#[tokio::test]
async fn nobody_who_revokes_waits_for_the_revocation_list() {
    let world = World::new().await;
    let adapter = world.adapter();
    *world.server.list.comes.lock().unwrap() = Comes::Never;
    let mut list = adapter.crl();
    tokio::select! {
        came = &mut list => panic!("{came:?}"),
        () = world.server.list.asked.notified() => {}
    }

    tokio::select! {
        came = &mut list => panic!("the list was waited for: {came:?}"),
        revoked = adapter.revoke("1f2e") => revoked.unwrap(),
    }
}

#[tokio::test]
async fn the_revocation_list_of_a_large_fleet_is_read_and_one_without_end_is_not() {
    const MIB: usize = 1024 * 1024;
    for (size, is_read) in [(16 * MIB, true), (16 * MIB + 1, false)] {
        let world = World::new().await;
        *world.server.list.comes.lock().unwrap() = Comes::WithBytes(size);
        let list = world.adapter().crl().await;
        assert_eq!(
            list.is_ok_and(|list| list.is_some_and(|der| der.len() == size)),
            is_read
        );
    }
}

pub(super) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/intermediates", get(intermediates))
        .route("/1.0/provisioners", get(provisioners))
        .route("/1.0/crl", get(crl))
}

/// Yes, 201.
async fn intermediates(State(server): State<Arc<Server>>) -> Response {
    let other = server.other_intermediate.lock().unwrap().clone();
    let body = json!({ "crts": [other.unwrap_or_else(|| server.ca.intermediate_pem())] });
    (StatusCode::CREATED, Json(body)).into_response()
}

async fn crl(State(server): State<Arc<Server>>) -> Response {
    server.list.asked.notify_one();
    let comes = *server.list.comes.lock().unwrap();
    match comes {
        Comes::Off => StatusCode::NOT_FOUND.into_response(),
        Comes::Never => pending().await,
        Comes::WithBytes(size) => vec![0_u8; size].into_response(),
    }
}

/// A hundred others first, one of our name and another kind among them.
async fn provisioners(State(server): State<Arc<Server>>, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    server.list.others_asked.fetch_add(1, Ordering::Relaxed);
    let cursor = query.get("cursor").map(String::as_str).unwrap_or_default();
    Json(match cursor {
        "" => {
            let other =
                |number| json!({ "type": "JWK", "name": format!("other-{number}"), "encryptedKey": "a.b.c.d.e" });
            let mut provisioners: Vec<_> = (1..100).map(other).collect();
            provisioners.push(json!({ "type": "ACME", "name": "iot-bridge" }));
            json!({ "provisioners": provisioners, "nextCursor": "page-2" })
        }
        "page-2" => {
            let ours = json!({ "type": "JWK", "name": "iot-bridge", "encryptedKey": JWE.trim() });
            json!({ "provisioners": [ours], "nextCursor": "" })
        }
        _ => json!({ "provisioners": [], "nextCursor": "" }),
    })
}
