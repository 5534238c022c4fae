use std::collections::BTreeSet;

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

#[tokio::test]
async fn the_description_for_machines_has_exactly_the_routes_that_there_are() {
    let world = World::new().await;
    let described = world.ask("GET", "/openapi.json", None, None).await.json();

    let paths = described["paths"].as_object().unwrap().iter();
    let described: BTreeSet<_> = paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
        })
        .collect();
    let served = iot_bridge_api::http::routes();
    let mut served: BTreeSet<_> = served
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    served.extend(["health", "livez", "readyz", "metrics", "openapi.json", "docs"].map(|path| format!("GET /{path}")));

    assert_eq!(described, served);
    let page = world.ask("GET", "/docs", None, None).await;
    assert!(
        String::from_utf8(page.body)
            .unwrap()
            .contains("<td>/devices/{id}/enroll</td>")
    );
}
