//! Who sees and ends whose sessions.

use crate::support::{World, bearer};

#[tokio::test]
async fn people_see_their_own_sessions_and_admins_all() {
    let world = World::new().await;
    let _terminal = world.opened("pump-1").await;
    let id = world.session().await.session.id;
    for (person, count, status) in [
        ("operator", 1, 200),
        ("admin", 1, 200),
        ("outsider", 0, 404),
        ("viewer", 0, 404),
    ] {
        let token = world.token(person);
        let list = world.get("/sessions", &token).await.json();
        assert_eq!(list["sessions"].as_array().unwrap().len(), count, "{person}");
        assert_eq!(
            world.get(&format!("/sessions/{id}"), &token).await.status,
            status,
            "{person}"
        );
    }
    let nobody = world.send("GET /sessions HTTP/1.1", "", "").await;
    assert_eq!(nobody.problem(), (401, "invalid-token".to_owned()));
}

#[tokio::test]
async fn an_admin_ends_a_session_and_a_stranger_does_not() {
    let world = World::new().await;
    let mut terminal = world.opened("pump-1").await;
    let target = format!("DELETE /sessions/{} HTTP/1.1", world.session().await.session.id);

    let stranger = world.send(&target, &bearer(&world.token("outsider")), "").await;
    assert_eq!(stranger.problem(), (404, "not-found".to_owned()));
    let admin = world.send(&target, &bearer(&world.token("admin")), "").await;

    assert_eq!(admin.status, 202);
    assert_eq!(terminal.closed().await, (4403, "killed".to_owned()));
    assert_eq!(world.session_end().await, "killed");
    let list = world.get("/sessions?all=true", &world.token("operator")).await.json();
    assert_eq!(list["sessions"][0]["reason"], "killed");
}

#[tokio::test]
async fn what_is_no_session_is_not_found() {
    let world = World::new().await;
    for id in ["0", "0197e4f4-0000-7000-8000-000000000000", "%2e%2e"] {
        let answer = world.get(&format!("/sessions/{id}"), &world.token("admin")).await;
        assert_eq!(answer.problem(), (404, "not-found".to_owned()), "{id}");
    }
}
