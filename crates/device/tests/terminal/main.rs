//! The terminal server as a client of ttyd sees it: a real shell on a real PTY, over a pipe.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at its first surprise")]

mod pipe;

use std::path::Path;
use std::time::Duration;

use device::terminal::{Shell, TerminalSettings};
use futures_util::SinkExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use pipe::{PATIENCE, Server, command, settings, shell};

const START: &str = r#"{"AuthToken":"","columns":80,"rows":24}"#;

#[tokio::test]
async fn a_client_types_into_a_real_shell_and_reads_its_output() {
    let mut client = Server::new(shell()).connect().await;
    client.say(START).await;

    assert!(client.frame().await.starts_with(b"1/bin/sh -i ("));
    assert_eq!(client.frame().await, b"2{ }");
    client.read_until("$ ").await;
    client.say("0echo $((6*7))\r").await;

    client.read_until("\n42\r\n").await;
}

#[tokio::test]
async fn the_window_has_the_size_that_the_client_says() {
    let mut client = Server::new(shell()).connect().await;
    client.say(r#"1{"columns":1,"rows":1}"#).await; // before the start: ignored
    client.say(r#"{"columns":100,"rows":30}"#).await;
    client.say("0stty size\r").await;
    client.read_until("30 100\r\n").await;

    client.say(r#"1{"columns":132,"rows":50}"#).await;
    client.say("0stty size\r").await;

    client.read_until("50 132\r\n").await;
}

#[tokio::test]
async fn pause_resume_and_unknown_commands_change_nothing() {
    let mut client = Server::new(shell()).connect().await;
    client.say("{bad").await; // even this starts the shell
    for message in ["2", "3", "x", "", START, r#"1{"columns":-1}"#] {
        client.say(message).await;
    }
    client.say("0stty size\r").await;

    client.read_until("24 80\r\n").await;
}

#[tokio::test]
async fn the_end_of_the_shell_is_the_end_of_the_connection_without_a_close_frame() {
    let server = Server::new(shell());
    let mut client = server.connect().await;
    client.say(START).await;
    client.say("0echo last words; exit 3\r").await;

    let output = client.read_to_end().await;

    assert!(output.ends_with("last words\r\n"), "{output:?}");
    server.all_sessions_ended().await;
}

#[tokio::test]
async fn a_background_job_does_not_keep_a_session_whose_shell_has_ended() {
    let mut client = Server::new(command("sleep 1000 & echo started")).connect().await;
    client.say(START).await;

    assert!(client.read_to_end().await.ends_with("started\r\n"));
}

#[tokio::test]
async fn a_program_that_does_not_exist_says_so_and_ends() {
    let mut client = Server::new(Shell::command("/no/such/program", vec![])).connect().await;
    client.say(START).await;

    let output = client.read_to_end().await;

    assert!(output.starts_with("execvp failed: "), "{output:?}");
}

#[tokio::test]
async fn five_megabytes_pass_a_narrow_pipe_byte_for_byte() {
    let lines = 500_000;
    let program = format!("stty -opost; seq -f %09.0f 1 {lines}");
    let mut client = Server::new(command(&program)).connect().await;
    client.say(START).await;

    let output = client.read_to_end().await;

    assert_eq!(output.len(), lines * 10);
    for (number, line) in (1..).zip(output.lines()) {
        assert_eq!(line.parse::<usize>().unwrap(), number);
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_shell_instead_of_filling_memory() {
    let directory = tempfile::tempdir().unwrap();
    let count = directory.path().join("count");
    let program = format!(
        "i=0; while :; do i=$((i+1)); echo $i > {0}.new; mv {0}.new {0}; printf %01000d $i; done",
        count.display()
    );
    let mut client = Server::new(command(&program)).connect().await;
    client.say(START).await;

    // It stops by itself: between two looks, far apart for a program, nothing was written.
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    let mut before = None;
    timeout(PATIENCE, async {
        loop {
            pace.tick().await;
            let now = std::fs::read_to_string(&count).ok();
            if now.is_some() && now == before {
                break;
            }
            before = now;
        }
    })
    .await
    .unwrap();

    let kilobytes: usize = before.unwrap().trim().parse().unwrap();
    assert!(
        kilobytes < 64,
        "{kilobytes} KB were taken from the shell without a reader"
    );
}

#[tokio::test]
async fn a_client_that_leaves_hangs_up_the_shell_and_its_jobs() {
    let directory = tempfile::tempdir().unwrap();
    let hung_up = directory.path().join("hung-up");
    let server = Server::new(command(&format!(
        "trap 'echo > {}; exit' HUP; echo $$; while :; do sleep 0.05; done",
        hung_up.display()
    )));
    let mut client = server.connect().await;
    client.say(START).await;
    let pid = client.read_until("\r\n").await;

    drop(client);
    server.all_sessions_ended().await;

    assert!(hung_up.exists(), "the shell got no SIGHUP");
    assert!(
        !Path::new("/proc").join(pid.trim()).exists(),
        "the shell is still there, or a zombie"
    );
}

#[tokio::test]
async fn a_close_of_the_client_is_answered_with_the_same_code() {
    let server = Server::new(shell());
    let mut client = server.connect().await;
    client.say(START).await;
    client.read_until("$ ").await;

    let close = CloseFrame {
        code: CloseCode::Away,
        reason: "".into(),
    };
    client.websocket.send(Message::Close(Some(close))).await.unwrap();

    let close = client.close_frame().await;
    assert_eq!(close.code, CloseCode::Away);
    server.all_sessions_ended().await;
}

#[tokio::test]
async fn the_end_of_the_process_hangs_up() {
    let server = Server::new(shell());
    let mut client = server.connect().await;
    client.say(START).await;
    client.read_until("$ ").await;

    server.stop.cancel();

    client.read_to_end().await;
    server.all_sessions_ended().await;
}

#[tokio::test]
async fn whoever_asks_for_something_else_gets_no_byte() {
    let tty = "Sec-WebSocket-Protocol: tty\r\n";
    let upgrade = "Host: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let long = "x".repeat(20_000);
    let requests = [
        format!("GET /ws HTTP/1.1\r\n{upgrade}\r\n"),
        format!("GET /ws HTTP/1.1\r\n{upgrade}Sec-WebSocket-Protocol: ttyd, chat\r\n\r\n"),
        format!("GET /wsx HTTP/1.1\r\n{upgrade}{tty}\r\n"),
        format!("GET /ws/ HTTP/1.1\r\n{upgrade}{tty}\r\n"),
        format!("POST /ws HTTP/1.1\r\n{upgrade}{tty}\r\n"),
        format!("GET /ws HTTP/1.1\r\nHost: d\r\n{tty}\r\n"),
        format!("GET /ws HTTP/1.1\r\nX: {long}\r\n\r\n"),
        "\r\n\r\nnonsense\0\r\n\r\n".to_owned(),
    ];
    for request in requests {
        let mut stream = Server::new(shell()).open();
        drop(stream.write_all(request.as_bytes()).await); // it may be closed before all is written
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer, b"", "{request}");
    }
}

#[tokio::test]
async fn input_before_the_start_ends_the_connection() {
    let mut client = Server::new(shell()).connect().await;
    client.say("0rm -rf /tmp/nothing\r").await;

    assert_eq!(client.read_to_end().await, "");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_as_such() {
    let server = Server::new(shell());
    let mut client = server.connect().await;
    client.say(START).await;
    client.read_until("$ ").await;

    // The server says so as soon as it has read the length; it may be gone before all is written.
    drop(client.websocket.send(Message::text("0".repeat(64 * 1024 + 1))).await);

    assert_eq!(client.close_frame().await.code, CloseCode::Size);
}

#[tokio::test]
async fn the_operator_s_name_reaches_the_shell_and_a_long_or_missing_one_is_refused() {
    let header = HeaderName::from_static("x-operator");
    let settings = TerminalSettings {
        user_header: Some(header.clone()),
        ..settings(command("echo user=$TTYD_USER"))
    };
    let server = Server::with(settings);
    let longest = "x".repeat(29);

    let mut client = server.try_connect(Some((header.clone(), &longest))).await.unwrap();
    client.say(START).await;

    assert_eq!(client.read_to_end().await, format!("user={longest}\r\n"));
    assert!(server.try_connect(Some((header, &"x".repeat(30)))).await.is_err());
    assert!(server.try_connect(None).await.is_err());
}

#[tokio::test]
async fn the_shell_s_environment_is_what_was_given_and_nothing_of_ours() {
    let shell = Shell::command("/usr/bin/env", vec![]).with_variable("GREETING", "hello");
    let mut client = Server::new(shell).connect().await;
    client.say(START).await;

    let output = client.read_to_end().await;

    let mut names: Vec<_> = output
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["GREETING", "HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "USER"]
    );
    assert!(output.contains("TERM=xterm-256color\r\n"));
}

#[tokio::test]
async fn one_client_too_many_is_closed_and_a_free_place_is_given_again() {
    let server = Server::with(TerminalSettings {
        max_clients: 1,
        ..settings(shell())
    });
    let first = server.connect().await;

    assert!(server.try_connect(None).await.is_err());
    drop(first);
    server.all_sessions_ended().await;

    server.connect().await;
}

#[tokio::test]
async fn a_client_is_pinged_also_before_it_starts_a_shell() {
    let server = Server::with(TerminalSettings {
        ping_interval: Duration::from_millis(20),
        ..settings(shell())
    });
    let mut client = server.connect().await;

    assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
    client.say(START).await;
    while !matches!(client.next().await, Some(Ok(Message::Ping(_)))) {}
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_no_sign_of_life_is_hung_up() {
    let server = Server::new(shell());
    let _client = server.connect().await; // it reads nothing, so it answers no ping

    let began = tokio::time::Instant::now();
    server.tasks.close();
    server.tasks.wait().await;

    let seconds = began.elapsed().as_secs();
    assert!((12..20).contains(&seconds), "hung up after {seconds} s");
}

#[tokio::test]
async fn what_a_client_sends_together_with_its_request_is_not_lost() {
    let mut stream = Server::new(command("echo started")).open();
    let request = "GET /ws HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tty\r\n\r\n";
    let start = [0x81, 0x82, 0, 0, 0, 0, b'{', b'}']; // a masked text frame
    stream.write_all(&[request.as_bytes(), &start].concat()).await.unwrap();

    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();

    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.contains("upgrade: WebSocket\r\n") && answer.contains("sec-websocket-protocol: tty\r\n"),
        "{answer}"
    );
    assert!(answer.contains("started"), "{answer}");
}
