//! A person comes back to their process after a lost network, a reloaded page, or from another machine.

use std::time::Duration;

use common::domain::{Actor, DeviceRegistry as _};
use serde_json::json;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{World, bearer};

#[tokio::test]
async fn a_lost_connection_is_no_lost_shell_and_loses_no_byte() {
    let world = World::new().await;
    let (mut terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let id = greeting["session_id"].as_str().unwrap().to_owned();
    assert_eq!(
        (&greeting["resumed"], &greeting["offset"], &greeting["lost"]),
        (&json!(false), &json!(0), &json!(0))
    );
    assert_eq!(terminal.output(2).await, "$ ");
    drop(terminal);
    world.device.show("while you were away, ");

    let target = format!("/terminal/pump-1?resume={id}&offset=1");
    let (mut terminal, greeting) = world.opened_to_resume(&target, "operator").await;

    assert_eq!(
        (
            &greeting["session_id"],
            &greeting["resumed"],
            &greeting["offset"],
            &greeting["lost"]
        ),
        (&json!(id), &json!(true), &json!(1), &json!(0))
    );
    assert_eq!(terminal.output(22).await, " while you were away, ");
    terminal.say("0still here").await;
    assert_eq!(terminal.output(10).await, "still here");
    assert_eq!(world.device.look(|seen| (seen.heads.len(), seen.ended)), (1, 0));
    let messages = world.device.look(|seen| seen.messages.clone());
    assert_eq!(
        messages[1], r#"1{"columns":100,"rows":30}"#,
        "the size of the page that came back"
    );
    let actions = world.actions().await;
    assert_eq!(actions.iter().filter(|action| *action == "session.resumed").count(), 1);
}

#[tokio::test]
async fn a_device_hears_of_life_however_fast_browsers_change() {
    let world = World::new().await;
    let (_first, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let id = greeting["session_id"].as_str().unwrap();
    let target = format!("/terminal/pump-1?resume={id}&offset=0");

    for _ in 0..3 {
        let (mut terminal, _) = world.opened_to_resume(&target, "operator").await;
        terminal.say("0x").await;
        terminal.hear("0x").await;
    }

    assert!(world.device.look(|seen| seen.pongs) >= 3);
}

#[tokio::test]
async fn what_does_not_fit_is_said_to_be_lost() {
    let world = World::with(|settings| settings.limits.resume_buffer_bytes = 16).await;
    let (terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let id = greeting["session_id"].as_str().unwrap().to_owned();
    drop(terminal);
    world.until_alone().await;
    world.device.show("0123456789");
    world.device.show("0123456789");
    world.device.show("!");
    let target = format!("/terminal/pump-1?resume={id}&offset=0");

    let (mut terminal, greeting) = loop {
        let (mut terminal, greeting) = world.opened_to_resume(&target, "operator").await;
        if greeting["offset"].as_i64() == Some(7) {
            break (terminal, greeting);
        }
        terminal.socket.close(Some(LEAVING)).await.unwrap();
        world.until_alone().await;
    };

    assert_eq!((&greeting["offset"], &greeting["lost"]), (&json!(7), &json!(7)));
    assert_eq!(terminal.output(16).await, "56789".to_owned() + "0123456789!");
}

#[tokio::test]
async fn a_page_that_goes_on_elsewhere_is_told_so() {
    let world = World::new().await;
    let (mut first, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    first.output(2).await;
    let target = format!(
        "/terminal/pump-1?resume={}&offset=2",
        greeting["session_id"].as_str().unwrap()
    );

    let (mut second, greeting) = world.opened_to_resume(&target, "operator").await;

    assert_eq!(first.closed().await, (4409, "continued-elsewhere".to_owned()));
    assert_eq!(greeting["resumed"], true);
    second.say("0mine now").await;
    assert_eq!(second.output(8).await, "mine now");
}

#[tokio::test]
async fn nobody_comes_back_to_a_session_that_is_not_theirs_or_of_another_device_or_over() {
    let world = World::new().await;
    let (mut terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let id = greeting["session_id"].as_str().unwrap();
    for (device, person) in [("pump-1", "admin"), ("pump-2", "operator")] {
        let target = format!("/terminal/{device}?resume={id}&offset=0");
        let (_terminal, greeting) = world.opened_to_resume(&target, person).await;
        assert_eq!(greeting["resumed"], false, "{person} on {device}");
        assert_ne!(greeting["session_id"], id);
    }
    let wrong = world
        .refused("/terminal/pump-1?resume=x", &bearer(&world.token("operator")))
        .await;
    assert_eq!(wrong.problem(), (400, "bad-request".to_owned()));

    terminal.say("0exit").await;
    assert_eq!(terminal.closed().await, (1000, "shell-exited".to_owned()));
    let target = format!("/terminal/pump-1?resume={id}&offset=0");
    let (_terminal, greeting) = world.opened_to_resume(&target, "operator").await;
    assert_eq!((&greeting["resumed"], &greeting["offset"]), (&json!(false), &json!(0)));
}

#[tokio::test]
async fn a_shell_that_nobody_comes_back_to_ends() {
    let world = World::with(|settings| settings.limits.resume_seconds = 1).await;
    let (terminal, _) = world.opened_to_resume("/terminal/pump-1", "operator").await;

    drop(terminal);

    assert_eq!(world.session_end().await, "browser_lost");
    world.until_the_process_ended().await;
}

#[tokio::test]
async fn a_page_that_closes_its_terminal_for_good_ends_the_shell() {
    let world = World::new().await;
    let (mut terminal, _) = world.opened_to_resume("/terminal/pump-1", "operator").await;

    terminal.socket.close(Some(FOR_GOOD)).await.unwrap();

    assert_eq!(world.session_end().await, "browser_left");
}

#[tokio::test]
async fn a_shell_without_a_browser_ends_as_any_other() {
    let world = World::new().await;
    let (terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    drop(terminal);
    world.until_alone().await;

    world
        .store
        .quarantine(&"pump-1".parse().unwrap(), &Actor::Console, &[])
        .await
        .unwrap();

    assert_eq!(world.session_end().await, "access_lost");
    let target = format!(
        "/terminal/pump-1?resume={}&offset=0",
        greeting["session_id"].as_str().unwrap()
    );
    let refused = world.refused(&target, &bearer(&world.token("operator"))).await;
    assert_eq!(refused.problem(), (404, "not-found".to_owned()));
}

#[tokio::test]
async fn without_acknowledgement_the_device_waits_and_nothing_is_lost() {
    let world = World::with(|settings| settings.limits.resume_buffer_bytes = 1024).await;
    let (mut terminal, greeting) = world.opened_to_resume("/terminal/pump-1", "operator").await;
    let mut seen = terminal.output(2).await;
    let line = format!("{:99}\n", "x");
    for _ in 0..50 {
        world.device.show(&line);
    }
    let expected = "$ ".to_owned() + &line.repeat(50);

    seen += &terminal.output(1000).await;
    // The page comes back before the proxy knows that the connection is lost, when little is acknowledged.
    terminal.say("4500").await;
    seen.truncate(600);
    let target = format!(
        "/terminal/pump-1?resume={}&offset=600",
        greeting["session_id"].as_str().unwrap()
    );
    let (mut terminal, greeting) = world.opened_to_resume(&target, "operator").await;
    assert_eq!((&greeting["offset"], &greeting["lost"]), (&json!(600), &json!(0)));
    while seen.len() < expected.len() {
        seen += &terminal.output(1).await;
        terminal.say(&format!("4{}", seen.len())).await;
    }

    assert!(seen == expected);
}

#[tokio::test]
async fn where_sessions_cannot_be_resumed_the_sub_protocol_is_plain() {
    let world = World::with(|settings| settings.limits.resume_seconds = 0).await;
    let authorization = format!("Bearer {}", world.token("operator"));
    let headers = [
        ("authorization", authorization.as_str()),
        ("sec-websocket-protocol", "tty.resume.v1, tty"),
    ];

    let mut terminal = world.open("/terminal/pump-1", &headers).await;

    assert_eq!(terminal.protocol.as_deref(), Some("tty"));
    terminal.say("{}").await;
    terminal.hear("0$ ").await;
}

const LEAVING: CloseFrame = CloseFrame {
    code: CloseCode::Away,
    reason: Utf8Bytes::from_static(""),
};

const FOR_GOOD: CloseFrame = CloseFrame {
    code: CloseCode::Normal,
    reason: Utf8Bytes::from_static(""),
};

impl World {
    /// The device hears of its end at about the time at which it is on record.
    async fn until_the_process_ended(&self) {
        let ended = async {
            while self.device.look(|seen| seen.ended) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    }

    /// Waits until the newest session has no browser.
    async fn until_alone(&self) {
        let alone = async {
            loop {
                let list = self.get("/sessions", &self.token("admin")).await.json();
                if list["sessions"][0]["attached"] == false {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), alone).await.unwrap();
    }
}
