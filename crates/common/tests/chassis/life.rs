//! How a service lives through panics and crowds, and how it ends.

use std::time::Duration;

use common::chassis::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{Answer, Demo, MORE_THAN_SOCKETS_HOLD, PATIENCE, Setup};

/// Long enough to notice that something happened which should not.
const MOMENT: Duration = Duration::from_millis(30);

#[tokio::test]
async fn a_panic_in_a_handler_costs_one_request() {
    let demo = Demo::start().await;

    let answer = demo.get("/panic").await;

    assert_eq!(answer.problem(), (500, "internal".to_owned()));
    assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
    assert_eq!(demo.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_running_request_is_finished_and_nothing_new_is_accepted() {
    let demo = Demo::start().await;
    let mut running = demo.connect().await;
    running
        .write_all(b"GET /slow HTTP/1.1\r\nHost: demo\r\n\r\n")
        .await
        .unwrap();
    demo.slow_began.notified().await;
    let mut resting = demo.connect().await;
    resting
        .write_all(b"GET /health HTTP/1.1\r\nHost: demo\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(Answer::read(&mut resting).await.status, 200);

    let release = async {
        assert!(
            tokio::time::timeout(PATIENCE, resting.read_u8())
                .await
                .unwrap()
                .is_err(),
            "a resting connection stayed"
        );
        assert!(
            TcpStream::connect(demo.address).await.is_err(),
            "a new connection was accepted"
        );
        demo.slow_may_end.notify_one();
        Answer::read(&mut running).await
    };
    let (finished, answer) = tokio::join!(demo.shutdown.finish(PATIENCE), release);

    assert!(finished);
    assert_eq!((answer.status, answer.closed), (200, true));
}

#[tokio::test]
async fn an_upgraded_connection_is_waited_for() {
    let demo = Demo::start().await;
    let mut stream = upgraded(&demo).await;

    let early = tokio::time::timeout(MOMENT, demo.shutdown.finish(PATIENCE)).await;
    assert!(early.is_err(), "it ended although a session was open");
    let mut echo = [0; 6];
    stream.write_all(b"bare\n\0").await.unwrap();
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"bare\n\0");

    drop(stream);
    assert!(demo.shutdown.finish(PATIENCE).await);
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_ends() {
    let shutdown = Shutdown::new();
    shutdown.on_signals().unwrap();

    send_signal("TERM").await;
    tokio::time::timeout(PATIENCE, shutdown.token().cancelled())
        .await
        .unwrap();
    assert!(!shutdown.hard_token().is_cancelled());

    send_signal("INT").await;
    tokio::time::timeout(PATIENCE, shutdown.hard_token().cancelled())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_upgrade_that_is_refused_closes_the_connection() {
    let demo = Demo::start().await;

    let answer = demo
        .send("GET /health HTTP/1.1\r\nHost: demo\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
        .await;

    assert_eq!((answer.status, answer.closed), (200, true));
}

#[tokio::test]
async fn above_the_limit_connections_wait_for_their_turn_and_sessions_count() {
    let demo = Demo::start_with(Setup {
        max_connections: Some(1),
        ..Setup::default()
    })
    .await;
    let session = upgraded(&demo).await;
    let mut second = demo.connect().await;
    second
        .write_all(b"GET /health HTTP/1.1\r\nHost: demo\r\n\r\n")
        .await
        .unwrap();
    let early = tokio::time::timeout(MOMENT, second.readable()).await;
    assert!(early.is_err(), "it was served above the limit");

    drop(session);

    assert_eq!(Answer::read(&mut second).await.status, 200);
}

#[tokio::test]
async fn above_the_limit_of_an_address_connections_are_closed_until_one_ends() {
    let demo = Demo::start_with(Setup {
        max_proxy_connections: Some(1),
        ..Setup::default()
    })
    .await;
    let session = upgraded(&demo).await;
    assert!(is_closed_at_once(&mut demo.connect().await).await);

    drop(session);

    let mut tries = 0;
    while is_closed_at_once(&mut demo.connect().await).await {
        tries += 1;
        assert!(tries < 1000, "the place was not given back");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let demo = Demo::start_with(one_place_and_little_patience()).await;
    let mut deaf = demo.connect().await;
    deaf.write_all(b"GET /large HTTP/1.1\r\nHost: demo\r\n\r\n")
        .await
        .unwrap();

    assert_eq!(demo.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_session_is_cut_off() {
    let demo = Demo::start_with(one_place_and_little_patience()).await;
    let mut deaf = upgraded(&demo).await;

    let flood = vec![0; MORE_THAN_SOCKETS_HOLD];
    let flooded = tokio::time::timeout(PATIENCE, deaf.write_all(&flood)).await;

    assert!(flooded.expect("an end in time").is_err());
    assert_eq!(demo.get("/health").await.status, 200);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_its_whole_answer() {
    let stall = 4 * MOMENT;
    let demo = Demo::start_with(Setup {
        write_stall_timeout: Some(stall),
        ..Setup::default()
    })
    .await;
    let mut slow = demo.connect().await;
    slow.write_all(b"GET /large HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let began = tokio::time::Instant::now();
    let mut pauses = tokio::time::interval(MOMENT / 3);
    let mut part = vec![0; MORE_THAN_SOCKETS_HOLD / 32];
    let mut received = 0;
    loop {
        pauses.tick().await;
        match slow.read(&mut part).await.unwrap() {
            0 => break,
            length => received += length,
        }
    }

    assert!(received > MORE_THAN_SOCKETS_HOLD);
    assert!(began.elapsed() > stall, "too fast to show anything");
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_open_connections() {
    let demo = Demo::start().await;
    demo.get("/devices/pump-7/enroll").await;

    let text = String::from_utf8(demo.get("/metrics").await.body).unwrap();

    assert!(
        text.contains(r#"http_requests_total{route="/devices/{id}/enroll",method="GET",status="4xx"} 1"#),
        "{text}"
    );
    assert!(text.contains("http_open_connections "), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

async fn send_signal(name: &str) {
    let command = format!("kill -{name} {}", std::process::id());
    assert!(
        Command::new("sh")
            .args(["-c", &command])
            .status()
            .await
            .unwrap()
            .success()
    );
}

/// The next client is served as soon as this one is cut off, and not before.
fn one_place_and_little_patience() -> Setup {
    Setup {
        write_stall_timeout: Some(MOMENT),
        max_connections: Some(1),
        ..Setup::default()
    }
}

async fn is_closed_at_once(stream: &mut TcpStream) -> bool {
    // The server may have closed before the request was sent.
    drop(stream.write_all(b"GET /health HTTP/1.1\r\nHost: demo\r\n\r\n").await);
    let first = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
    first.expect("an answer or an end in time").is_err()
}

async fn upgraded(demo: &Demo) -> TcpStream {
    let mut stream = demo.connect().await;
    stream
        .write_all(b"GET /upgrade HTTP/1.1\r\nHost: demo\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 101);
    stream
}
