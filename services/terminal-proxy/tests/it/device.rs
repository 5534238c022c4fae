//! What a device sees, and what its faults look like from outside.

use crate::support::{ORIGIN, World, bearer, network};
use crate::ttyd::Mood;

#[tokio::test]
async fn the_device_sees_the_same_request_whatever_the_client_sends() {
    let world = World::new().await;
    let token = world.token("operator");
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("origin", ORIGIN),
        ("cookie", "a=b"),
        ("x-remote-user", "root"),
        ("x-forwarded-for", "10.0.0.1"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ("sec-websocket-protocol", "tty"),
        ("user-agent", "evil\tagent"),
    ];

    let terminal = world.open("/terminal/pump-1?arg=--help&arg=%0d%0a", &headers).await;
    world
        .open("/terminal/pump-1", &[("authorization", &authorization)])
        .await;

    let heads = world.device.look(|seen| seen.heads.clone());
    let user = heads[0]
        .split("x-remote-user: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let expected = format!(
        "GET /ws HTTP/1.1\r\nHost: 10.8.0.2:7681\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: <key>\r\nSec-WebSocket-Protocol: tty\r\n\
         Origin: http://10.8.0.2:7681\r\nx-remote-user: {user}\r\n\r\n"
    );
    assert_eq!(heads, [expected.clone(), expected]);
    assert!(user.starts_with("operator.") && user.len() <= 29, "{user}");
    assert_eq!(terminal.protocol.as_deref(), Some("tty"));
}

#[tokio::test]
async fn keystrokes_go_in_and_output_comes_out() {
    let world = World::new().await;
    let mut terminal = world.opened("pump-1").await;

    terminal.say(r#"1{"columns":65536,"rows":24}"#).await;
    terminal.say("3").await;
    terminal.say("0ls").await;
    terminal.hear("0ls").await;

    let messages = world.device.look(|seen| seen.messages.clone());
    let hello = r#"{"AuthToken":"","columns":100,"rows":30}"#;
    assert_eq!(messages, [hello, r#"1{"columns":1000,"rows":24}"#, "0ls"]);
}

#[tokio::test]
async fn a_device_that_cannot_be_reached_is_said_to_be_so_and_the_record_is_closed() {
    let world = World::new().await;
    let header = bearer(&world.token("operator"));
    for (mood, expected, reason) in [
        (Mood::Refuses, (502, "device-unreachable"), "device_unreachable"),
        (Mood::Away, (504, "device-timeout"), "device_unreachable"),
        (Mood::Closes, (502, "device-bad-answer"), "device_bad_answer"),
        (
            Mood::Answers("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
            (502, "device-bad-answer"),
            "device_bad_answer",
        ),
        (
            Mood::Answers("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n"),
            (502, "device-bad-answer"),
            "device_bad_answer",
        ),
        (
            Mood::Answers(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n",
            ),
            (502, "device-bad-answer"),
            "device_bad_answer",
        ),
        (
            Mood::Answers("SSH-2.0-dropbear\r\n"),
            (502, "device-bad-answer"),
            "device_bad_answer",
        ),
        (
            Mood::Answers("HTTP/1.1 101 "),
            (502, "device-bad-answer"),
            "device_bad_answer",
        ),
    ] {
        world.device.set_mood(mood);
        let (status, slug) = world.refused("/terminal/pump-1", &header).await.problem();
        assert_eq!((status, slug.as_str()), expected, "{mood:?}");
        assert_eq!(world.session().await.reason.as_deref(), Some(reason));
    }
}

#[tokio::test]
async fn an_address_outside_the_device_network_is_never_dialled() {
    let world = World::with(|settings| settings.network = network("10.9.0.0/24")).await;

    let answer = world
        .refused("/terminal/pump-1", &bearer(&world.token("operator")))
        .await;

    assert_eq!(answer.problem(), (502, "device-address-invalid".to_owned()));
    assert!(world.device.look(|seen| seen.heads.is_empty()));
    assert!(world.actions().await.contains(&"terminal.refused".to_owned()));
}
