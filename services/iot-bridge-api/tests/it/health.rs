use http::StatusCode;
use serde_json::json;

use crate::support::{Mood, World};

#[tokio::test]
async fn the_service_says_that_it_lives_and_what_it_lacks() {
    let world = World::new().await;
    let ask = async |path: &str| world.ask("GET", path, None, None).await;

    assert_eq!(
        ask("/health").await.json(),
        json!({ "status": "ok", "service": "iot-bridge-api" })
    );
    assert_eq!(ask("/livez").await.status, StatusCode::OK);
    assert_eq!(ask("/readyz").await.status, StatusCode::OK);
    world.ca.is(Mood::Away);
    let lacking = ask("/readyz").await;
    assert_eq!(lacking.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        lacking.json()["dependencies"]["certificate_authority"]["status"],
        "failed"
    );
    assert_eq!(lacking.json()["dependencies"]["database"]["status"], "ok");
}

#[tokio::test]
async fn anyone_may_read_the_roots() {
    let world = World::new().await;

    let roots = world.ask("GET", "/ca/roots", None, None).await;

    assert_eq!(roots.status, StatusCode::OK);
    assert!(
        String::from_utf8(roots.body)
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    assert_eq!(
        world.ask("GET", "/ca/crl", None, None).await.status,
        StatusCode::NOT_FOUND
    );
}
