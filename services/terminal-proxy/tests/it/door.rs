//! Everything that is refused before the upgrade, and that it is refused readably.

use serde_json::json;

use crate::support::{ORIGIN, UPGRADE, World, bearer};

#[tokio::test]
async fn the_token_may_come_in_four_ways() {
    let world = World::new().await;
    let token = world.token("operator");
    let authorization = format!("Bearer {token}");
    let protocols = format!("tty, bearer.{token}");

    let in_query = world
        .open(
            &format!("/terminal?deviceId=pump-1&token={token}"),
            &[("origin", ORIGIN)],
        )
        .await;
    let in_path = world
        .open(&format!("/terminal/pump-1?token={token}"), &[("origin", ORIGIN)])
        .await;
    let in_header = world
        .open("/terminal/pump-1", &[("authorization", &authorization)])
        .await;
    let in_protocol = world
        .open(
            "/terminal/pump-1",
            &[("sec-websocket-protocol", &protocols), ("origin", ORIGIN)],
        )
        .await;

    assert_eq!(
        [&in_query.protocol, &in_path.protocol, &in_header.protocol],
        [&None, &None, &None]
    );
    assert_eq!(in_protocol.protocol.as_deref(), Some("tty"));
}

#[tokio::test]
async fn a_token_that_is_not_good_opens_nothing() {
    let world = World::new().await;
    let good = world.claims();
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[name] = value;
        world.issuer.mint(&claims)
    };
    let token = world.token("operator");
    let signature_of_another = format!("{}x", token.trim_end_matches(|last: char| last != '.'));
    let unsigned = "eyJhbGciOiJub25lIn0.e30.".to_owned();
    for bad in [
        String::new(),
        "nonsense".to_owned(),
        unsigned,
        signature_of_another,
        with("aud", json!("account")),
        with("iss", json!("https://elsewhere.example.com")),
        with("exp", json!(1)),
        with("exp", json!("soon")),
        with("azp", json!("another-client")),
        with("typ", json!("ID")),
    ] {
        let answer = world
            .refused(&format!("/terminal?deviceId=pump-1&token={bad}"), &origin())
            .await;
        assert_eq!(answer.problem(), (401, "invalid-token".to_owned()), "{bad}");
        assert!(answer.header("www-authenticate").is_some());
    }
    assert!(world.device.look(|seen| seen.heads.is_empty()));
}

#[tokio::test]
async fn no_credential_or_two_open_nothing() {
    let world = World::new().await;
    let token = world.token("operator");
    let header = bearer(&token);
    for (target, headers, expected) in [
        ("/terminal?deviceId=pump-1".to_owned(), origin(), (401, "invalid-token")),
        (
            "/terminal/pump-1".to_owned(),
            format!("{}Cookie: session={token}\r\n", origin()),
            (401, "invalid-token"),
        ),
        (
            "/terminal/pump-1".to_owned(),
            "Authorization: Bearer\r\n".to_owned(),
            (401, "invalid-token"),
        ),
        (
            format!("/terminal/pump-1?token={token}&token={token}"),
            origin(),
            (400, "ambiguous-credentials"),
        ),
        (
            format!("/terminal/pump-1?token={token}"),
            header.clone(),
            (400, "ambiguous-credentials"),
        ),
        (
            format!("/terminal/pump-1?ticket=x&token={token}"),
            origin(),
            (400, "ambiguous-credentials"),
        ),
        (
            "/terminal/pump-1".to_owned(),
            format!("{header}{header}"),
            (400, "ambiguous-credentials"),
        ),
        (
            "/terminal/pump-1".to_owned(),
            format!("{header}Sec-WebSocket-Protocol: tty, bearer.{token}\r\n"),
            (400, "ambiguous-credentials"),
        ),
    ] {
        let (status, slug) = world.refused(&target, &headers).await.problem();
        assert_eq!((status, slug.as_str()), expected, "{target}");
    }
}

#[tokio::test]
async fn unknown_and_forbidden_devices_get_the_same_answer() {
    let world = World::new().await;
    let mut answers = Vec::new();
    for (device, person) in [("pump-1", "outsider"), ("nothing", "outsider"), ("nothing", "admin")] {
        let answer = world
            .refused(&format!("/terminal/{device}"), &bearer(&world.token(person)))
            .await;
        assert_eq!(answer.problem(), (404, "not-found".to_owned()));
        let mut body = answer.json();
        body.as_object_mut().unwrap().remove("instance");
        answers.push(body);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn a_person_without_the_role_is_told_so() {
    let world = World::new().await;
    for person in ["guest", "viewer"] {
        let answer = world.refused("/terminal/pump-1", &bearer(&world.token(person))).await;
        assert_eq!(answer.problem(), (403, "forbidden".to_owned()), "{person}");
    }
}

#[tokio::test]
async fn device_ids_are_parsed_at_the_door() {
    let world = World::new().await;
    let header = bearer(&world.token("operator"));
    for (target, slug) in [
        ("/terminal", "invalid-device-id"),
        ("/terminal?deviceId=", "invalid-device-id"),
        ("/terminal?deviceId=PUMP", "invalid-device-id"),
        ("/terminal?deviceId=..%2Fpump-1", "invalid-device-id"),
        ("/terminal/pump_1", "invalid-device-id"),
        ("/terminal/%2e%2e%2f", "invalid-device-id"),
        ("/terminal/pump-1%0d%0aX:y", "invalid-device-id"),
        ("/terminal?deviceId=pump-1&deviceId=pump-2", "ambiguous-parameter"),
        ("/terminal/pump-1?deviceId=pump-2", "ambiguous-parameter"),
    ] {
        assert_eq!(
            world.refused(target, &header).await.problem(),
            (400, slug.to_owned()),
            "{target}"
        );
    }
}

#[tokio::test]
async fn what_is_no_websocket_handshake_is_told_what_is_missing() {
    let world = World::new().await;
    let header = bearer(&world.token("operator"));
    let without = |line: &str| UPGRADE.replace(line, "");
    let two_keys = format!("{UPGRADE}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    for (request_line, upgrade, expected) in [
        (
            "GET /terminal/pump-1 HTTP/1.1",
            without("Upgrade: websocket\r\n"),
            (426, "upgrade-required"),
        ),
        (
            "GET /terminal/pump-1 HTTP/1.0",
            UPGRADE.to_owned(),
            (426, "upgrade-required"),
        ),
        (
            "GET /terminal/pump-1 HTTP/1.1",
            UPGRADE.replace("Version: 13", "Version: 8"),
            (426, "upgrade-required"),
        ),
        (
            "GET /terminal/pump-1 HTTP/1.1",
            UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="),
            (400, "bad-request"),
        ),
        (
            "GET /terminal/pump-1 HTTP/1.1",
            without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            (400, "bad-request"),
        ),
        ("GET /terminal/pump-1 HTTP/1.1", two_keys, (400, "bad-request")),
        (
            "POST /terminal/pump-1 HTTP/1.1",
            UPGRADE.to_owned(),
            (405, "method-not-allowed"),
        ),
    ] {
        let answer = world.send(request_line, &format!("{header}{upgrade}"), "").await;
        let (status, slug) = answer.problem();
        assert_eq!((status, slug.as_str()), expected, "{request_line} {upgrade}");
        assert_eq!(answer.header("sec-websocket-version"), (status == 426).then_some("13"));
    }
}

#[tokio::test]
async fn only_our_pages_may_open_terminals() {
    let world = World::new().await;
    let token = world.token("operator");
    let target = format!("/terminal?deviceId=pump-1&token={token}");
    for other in [
        "null",
        "https://fleet.example.com.evil.tld",
        "http://fleet.example.com",
        "https://fleet.example.com:8443",
        "https://FLEET.example.com",
        "https://fleet.example.com.",
        "https://user@fleet.example.com",
    ] {
        let answer = world.refused(&target, &format!("Origin: {other}\r\n")).await;
        assert_eq!(answer.problem(), (403, "origin-not-allowed".to_owned()), "{other}");
        let answer = world
            .refused("/terminal/pump-1", &format!("Origin: {other}\r\n{}", bearer(&token)))
            .await;
        assert_eq!(answer.problem().0, 403, "{other}");
    }
    assert_eq!(
        world.refused(&target, "").await.problem(),
        (403, "origin-not-allowed".to_owned())
    );
    let twice = format!("{}{}", origin(), origin());
    assert_eq!(
        world.refused(&target, &twice).await.problem(),
        (400, "bad-request".to_owned())
    );
}

#[tokio::test]
async fn another_name_for_our_address_is_refused() {
    let world = World::new().await;

    let answer = world.refused("/terminal/pump-1", "Host: evil.example.com\r\n").await;

    assert_eq!(answer.problem(), (421, "misdirected-request".to_owned()));
    let health = world.send("GET /livez HTTP/1.1", "Host: 10.0.0.1:8888\r\n", "").await;
    assert_eq!(health.status, 200);
}

#[tokio::test]
async fn tokens_in_the_address_can_be_switched_off() {
    let world = World::with(|settings| settings.allow_query_token = false).await;
    let token = world.token("operator");

    let answer = world
        .refused(&format!("/terminal?deviceId=pump-1&token={token}"), &origin())
        .await;

    assert_eq!(answer.problem(), (401, "invalid-token".to_owned()));
}

#[tokio::test]
async fn a_hundred_bad_tokens_are_too_many() {
    let world = World::new().await;
    let mut last = 0;
    for _ in 0..100 {
        last = world.refused("/terminal/pump-1", &bearer("guess")).await.status;
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn each_limit_of_sessions_has_its_own_answer() {
    for (limit, expected) in [
        (0, (429, "too-many-sessions")),
        (1, (409, "device-busy")),
        (2, (503, "at-capacity")),
    ] {
        let world = World::with(|settings| {
            let limits = &mut settings.limits;
            *[
                &mut limits.max_sessions_per_user,
                &mut limits.max_sessions_per_device,
                &mut limits.max_sessions,
            ][limit] = 1;
        })
        .await;
        let _first = world.opened("pump-1").await;

        let (status, slug) = world
            .refused("/terminal/pump-1", &bearer(&world.token("operator")))
            .await
            .problem();

        assert_eq!((status, slug.as_str()), expected);
    }
}

fn origin() -> String {
    format!("Origin: {ORIGIN}\r\n")
}

impl World {
    fn claims(&self) -> serde_json::Value {
        self.issuer.claims_for("operator")
    }
}
