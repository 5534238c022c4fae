//! What ends a session.

use std::time::Duration;

use common::domain::{Actor, DeviceRegistry as _};
use serde_json::json;

use crate::support::{World, bearer};

#[tokio::test]
async fn the_end_of_the_shell_is_the_normal_end() {
    let world = World::new().await;
    let mut terminal = world.opened("pump-1").await;

    terminal.say("0exit").await;

    assert_eq!(terminal.closed().await, (1000, "shell-exited".to_owned()));
    assert_eq!(world.session_end().await, "shell_exited");
    let session = world.session().await;
    assert!(session.output_bytes > 0 && session.input_bytes > 0);
    assert_eq!(session.session.username, "operator");
}

#[tokio::test]
async fn a_page_that_leaves_ends_the_shell() {
    let world = World::new().await;
    let mut terminal = world.opened("pump-1").await;

    terminal.socket.close(None).await.unwrap();

    assert_eq!(world.session_end().await, "browser_left");
    assert_eq!(world.device.look(|seen| seen.ended), 1);
}

#[tokio::test]
async fn a_browser_that_vanishes_ends_the_shell() {
    let world = World::new().await;

    drop(world.opened("pump-1").await);

    assert_eq!(world.session_end().await, "browser_lost");
}

#[tokio::test]
async fn decommissioning_ends_open_terminals_and_opens_no_more() {
    let world = World::new().await;
    let mut terminal = world.opened("pump-1").await;
    let id = "pump-1".parse().unwrap();

    world.store.retire(&id, &Actor::Console, &[]).await.unwrap();

    let closed = tokio::time::timeout(Duration::from_secs(5), terminal.closed())
        .await
        .unwrap();
    assert_eq!(closed, (4404, "device-decommissioned".to_owned()));
    assert_eq!(world.session_end().await, "device_retired");
    let refused = world
        .refused("/terminal/pump-1", &bearer(&world.token("operator")))
        .await;
    assert_eq!(refused.problem(), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn quarantine_ends_open_terminals_of_that_device_only() {
    let world = World::new().await;
    let mut of_device = world.opened("pump-1").await;
    let mut of_neighbour = world.opened("pump-2").await;
    let id = "pump-1".parse().unwrap();

    world.store.quarantine(&id, &Actor::Console, &[]).await.unwrap();

    assert_eq!(of_device.closed().await, (4403, "access-lost".to_owned()));
    of_neighbour.say("0still here").await;
    of_neighbour.hear("0still here").await;
}

#[tokio::test]
async fn a_session_does_not_outlive_its_token() {
    let world = World::new().await;
    let mut claims = world.issuer.claims_for("operator");
    claims["exp"] = json!(claims["iat"].as_i64().unwrap() + 1);
    let authorization = format!("Bearer {}", world.issuer.mint(&claims));

    let mut terminal = world
        .open("/terminal/pump-1", &[("authorization", &authorization)])
        .await;

    assert_eq!(terminal.closed().await, (4401, "token-expired".to_owned()));
}

#[tokio::test]
async fn a_drain_asks_pages_to_come_back_and_waits_for_the_records() {
    let world = World::new().await;
    let mut terminal = world.opened("pump-1").await;

    let ((code, reason), drained) = tokio::join!(terminal.closed(), world.shutdown.finish(Duration::from_secs(10)));

    assert_eq!((code, reason.as_str()), (1012, "proxy-restarts"));
    assert!(drained);
    assert_eq!(world.session().await.reason.as_deref(), Some("draining"));
}

#[tokio::test]
async fn a_browser_that_breaks_the_protocol_is_closed_with_1009_before_memory_is_used() {
    let world = World::new().await;
    let mut terminal = world.opened("pump-1").await;

    terminal.say(&format!("0{}", "x".repeat(64 * 1024))).await;

    assert_eq!(terminal.closed().await, (1009, "protocol-violation".to_owned()));
}
