//! Every door asks who is there.

use crate::support::{UPGRADE, World};

#[tokio::test]
async fn nobody_gets_anything_but_the_page_and_signs_of_life() {
    let world = World::new().await;
    for (request_line, headers) in [
        ("GET /terminal?deviceId=pump-1 HTTP/1.1", UPGRADE),
        ("GET /terminal/pump-1 HTTP/1.1", UPGRADE),
        ("POST /terminal/tickets HTTP/1.1", ""),
        ("GET /sessions HTTP/1.1", ""),
        ("GET /sessions/0197e4f4-0000-7000-8000-000000000000 HTTP/1.1", ""),
        ("DELETE /sessions/0197e4f4-0000-7000-8000-000000000000 HTTP/1.1", ""),
        ("POST /sessions/0197e4f4-0000-7000-8000-000000000000/token HTTP/1.1", ""),
        ("PATCH /sessions/0197e4f4-0000-7000-8000-000000000000 HTTP/1.1", ""),
        (
            "GET /sessions/0197e4f4-0000-7000-8000-000000000000/watch HTTP/1.1",
            UPGRADE,
        ),
        ("POST /sessions/0197e4f4-0000-7000-8000-000000000000/watch HTTP/1.1", ""),
        ("POST /sessions/0197e4f4-0000-7000-8000-000000000000/join HTTP/1.1", ""),
        (
            "GET /sessions/0197e4f4-0000-7000-8000-000000000000/recording HTTP/1.1",
            "",
        ),
        ("GET /ui/api/devices HTTP/1.1", ""),
        ("GET /doctor/pump-1 HTTP/1.1", ""),
    ] {
        let answer = world.send(request_line, headers, "").await;
        assert_eq!(answer.problem(), (401, "invalid-token".to_owned()), "{request_line}");
    }
    for path in [
        "/",
        "/ui/callback",
        "/ui/terminal/pump-1",
        "/ui/config.json",
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
    ] {
        assert_eq!(
            world.send(&format!("GET {path} HTTP/1.1"), "", "").await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_is_no_route_is_not_found() {
    let world = World::new().await;
    for path in [
        "/terminals",
        "/terminal/",
        "/terminal/pump-1/",
        "//terminal",
        "/ui/",
        "/ui/assets/",
        "/.git/config",
    ] {
        let answer = world.send(&format!("GET {path} HTTP/1.1"), "", "").await;
        assert_eq!(answer.problem(), (404, "not-found".to_owned()), "{path}");
    }
}
