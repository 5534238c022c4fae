//! Requests that are not HTTP as we want it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Answer, Demo, PATIENCE, Setup};

const ENROLL: &str = "/devices/pump-7/enroll";
const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn a_good_request_is_answered() {
    let demo = Demo::start().await;

    let answer = demo
        .enroll(
            ENROLL,
            "Content-Type: Application/JSON; charset=utf-8\r\n",
            br#"{"csr":"abc"}"#,
        )
        .await;

    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.json(),
        serde_json::json!({"device_id": "pump-7", "csr_bytes": 3})
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn the_request_id_is_ours() {
    let demo = Demo::start().await;

    let request = "GET /nowhere HTTP/1.1\r\nHost: demo\r\nX-Request-Id: forged\r\n\r\n";
    let (first, second) = (demo.send(request).await, demo.send(request).await);

    assert_eq!(first.problem(), (404, "not-found".to_owned()));
    assert_eq!(first.header("x-request-id").unwrap().len(), 36);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test]
async fn another_method_is_405_and_says_which_is_allowed() {
    let demo = Demo::start().await;

    for method in ["GET", "PUT", "DELETE", "BREW"] {
        let answer = demo
            .send(format!("{method} {ENROLL} HTTP/1.1\r\nHost: demo\r\n\r\n"))
            .await;
        assert_eq!(answer.problem(), (405, "method-not-allowed".to_owned()), "{method}");
        assert_eq!(answer.header("allow"), Some("POST"), "{method}");
    }
}

#[tokio::test]
async fn a_refused_head_request_has_no_body_and_the_connection_goes_on() {
    let demo = Demo::start().await;
    let mut stream = demo.connect().await;

    let both =
        "HEAD /nowhere HTTP/1.1\r\nHost: demo\r\n\r\nGET /health HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n";
    stream.write_all(both.as_bytes()).await.unwrap();

    let mut answers = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answers))
        .await
        .unwrap()
        .unwrap();
    assert!(answers.starts_with("HTTP/1.1 404"), "{answers}");
    assert!(answers.contains("\r\n\r\nHTTP/1.1 200"), "{answers}");
}

#[tokio::test]
async fn a_body_of_another_type_is_415() {
    let demo = Demo::start().await;

    let wrong = [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/jsonx\r\n",
        &JSON.repeat(2),
    ];
    for headers in wrong {
        let answer = demo.enroll(ENROLL, headers, br#"{"csr":"x"}"#).await;
        assert_eq!(
            answer.problem(),
            (415, "unsupported-media-type".to_owned()),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn a_compressed_body_is_415() {
    let demo = Demo::start().await;

    let answer = demo
        .enroll(ENROLL, &format!("{JSON}Content-Encoding: gzip\r\n"), b"\x1f\x8b\x08")
        .await;

    assert_eq!(answer.problem(), (415, "unsupported-encoding".to_owned()));
}

#[tokio::test]
async fn a_large_body_is_413_announced_or_not() {
    let demo = Demo::start().await;
    let large = format!(r#"{{"csr":"{}"}}"#, "x".repeat(64 * 1024));
    let chunked = format!(
        "POST {ENROLL} HTTP/1.1\r\nHost: demo\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );

    let answers = [
        demo.enroll(ENROLL, JSON, large.as_bytes()).await,
        demo.send(chunked).await,
    ];

    for answer in answers {
        assert_eq!(answer.problem(), (413, "payload-too-large".to_owned()));
    }
}

#[tokio::test]
async fn a_head_that_two_parsers_could_read_differently_is_400_and_the_end() {
    let demo = Demo::start().await;
    let heads = [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\n",
        "Content-Length: 4\r\nContent-Length: 4\r\n\r\n",
        "Content-Length: +4\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n",
        "X-Folded: a\r\n b\r\n\r\n",
        "X-Bare: a\nX-More: b\r\n\r\n",
        "X-Nul: a\0b\r\n\r\n",
        "X-Return: a\rb\r\n\r\n",
        "X Space: a\r\n\r\n",
        "X-Colon : a\r\n\r\n",
    ];
    for head in heads {
        let answer = demo
            .send(format!("POST {ENROLL} HTTP/1.1\r\nHost: demo\r\n{JSON}{head}"))
            .await;
        assert_eq!((answer.status, answer.closed), (400, true), "{head:?}");
    }
}

#[tokio::test]
async fn a_request_that_does_not_name_one_host_is_400() {
    let demo = Demo::start().await;
    let host = "Host: demo\r\n";
    for (head, status) in [
        (format!("GET /health HTTP/1.1\r\n{host}"), 200),
        ("GET /health HTTP/1.1\r\nHost:\r\n".to_owned(), 200),
        ("GET /health HTTP/1.0\r\n".to_owned(), 200),
        ("GET /health HTTP/1.1\r\n".to_owned(), 400),
        (format!("GET /health HTTP/1.1\r\n{host}{host}"), 400),
        (format!("GET /health HTTP/1.0\r\n{host}Host: other\r\n"), 400),
        ("GET http://demo/health HTTP/1.1\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nHost: a, b\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nHost: me@demo\r\n".to_owned(), 400),
    ] {
        let answer = demo.send(format!("{head}\r\n")).await;
        assert_eq!(answer.status, status, "{head:?}");
    }
}

#[tokio::test]
async fn a_request_smuggled_behind_another_is_not_answered() {
    let demo = Demo::start().await;
    let mut stream = demo.connect().await;
    let smuggled = "GET /health HTTP/1.1\r\nHost: demo\r\n\r\n";

    let both = format!(
        "POST {ENROLL} HTTP/1.1\r\nHost: demo\r\n{JSON}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    );
    stream.write_all(both.as_bytes()).await.unwrap();

    let mut all = Vec::new();
    drop(
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all))
            .await
            .unwrap(),
    );
    assert_eq!(String::from_utf8_lossy(&all).matches("HTTP/1.1").count(), 1);
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_turn() {
    let demo = Demo::start().await;
    let mut stream = demo.connect().await;
    let body = r#"{"csr":"x"}"#;
    let length = body.len();
    let chunks = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let requests = [
        format!("POST {ENROLL} HTTP/1.1\r\nHost: demo\r\n{JSON}Content-Length: {length}\r\n\r\n{body}"),
        format!("POST {ENROLL} HTTP/1.1\r\nHost: demo\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n{chunks}"),
        format!("POST {ENROLL} HTTP/1.1\r\nHost: demo\r\n{JSON}Content-Length: {length}\r\n\r\n{body}"),
    ];
    for request in requests {
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(Answer::read(&mut stream).await.status, 201, "{request}");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431() {
    let demo = Demo::start().await;
    let long_line = format!("X-Long: {}\r\n", "x".repeat(17 * 1024));
    // With `Host` these are 100 and 101 lines.
    let (most, too_many) = ("X-Line: x\r\n".repeat(99), "X-Line: x\r\n".repeat(100));

    for (headers, status) in [(long_line, 431), (most, 200), (too_many, 431)] {
        let answer = demo
            .send(format!("GET /health HTTP/1.1\r\nHost: demo\r\n{headers}\r\n"))
            .await;
        assert_eq!(answer.status, status, "{} bytes", headers.len());
    }
}

#[tokio::test]
async fn an_address_that_is_too_long_is_414() {
    let demo = Demo::start().await;

    let answer = demo.get(&format!("/health?{}", "x".repeat(4096))).await;

    assert_eq!(answer.problem(), (414, "uri-too-long".to_owned()));
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    let demo = Demo::start_with(Setup {
        head_timeout: Some(Duration::from_millis(30)),
        ..Setup::default()
    })
    .await;

    for start in [
        "",
        "GET /hea",
        "GET /health HTTP/1.1\r\nHost: de",
        "GET /health HTTP/1.1\r\nHost: demo\r\n\r\nGET",
    ] {
        let mut stream = demo.connect().await;
        stream.write_all(start.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answers)).await;
        assert!(end.is_ok(), "the connection stayed open after {start:?}");
    }
}

#[tokio::test]
async fn a_head_that_dribbles_byte_by_byte_is_cut_off_at_the_same_moment() {
    let head_timeout = Duration::from_millis(100);
    let demo = Demo::start_with(Setup {
        head_timeout: Some(head_timeout),
        ..Setup::default()
    })
    .await;
    let mut stream = demo.connect().await;
    let began = tokio::time::Instant::now();
    let (mut answers, mut request) = stream.split();
    let dribble = async {
        let mut ticks = tokio::time::interval(head_timeout / 20);
        for byte in b"GET /health HTTP/1.1\r\nX-Endless: "
            .iter()
            .chain(std::iter::repeat(&b'x'))
        {
            ticks.tick().await;
            if request.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    let mut received = Vec::new();
    let end = async {
        // Closed or reset: a byte may have been on its way.
        drop(answers.read_to_end(&mut received).await);
    };

    let cut_off = tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            () = dribble => {}
            () = end => {}
        }
    });
    assert!(cut_off.await.is_ok(), "it may dribble for ever");
    assert!(began.elapsed() >= head_timeout / 2, "it was cut off for another reason");
}

#[tokio::test]
async fn a_connection_may_rest_between_requests_longer_than_a_head_may_take() {
    let head_timeout = Duration::from_millis(30);
    let demo = Demo::start_with(Setup {
        head_timeout: Some(head_timeout),
        ..Setup::default()
    })
    .await;
    let mut stream = demo.connect().await;
    let request = b"GET /health HTTP/1.1\r\nHost: demo\r\n\r\n";
    stream.write_all(request).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 200);

    let closed = tokio::time::timeout(3 * head_timeout, stream.read_u8()).await;
    assert!(closed.is_err(), "the server closed a connection that rested");

    stream.write_all(request).await.unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_not_one_json_object_is_400() {
    let demo = Demo::start().await;
    let deep = format!("{{\"csr\":{}", "[".repeat(50_000));
    let bodies: [&[u8]; 9] = [
        b"{",
        b"\xef\xbb\xbf{\"csr\":\"x\"}",
        br#"{"csr":NaN}"#,
        br#"{"csr":"x"} trailing"#,
        deep.as_bytes(),
        br#"{"csr":"x","csr":"y"}"#,
        br#"{"csr":"\udead"}"#,
        b"{\"csr\":\"\xff\xfe\"}",
        br#"["x"]"#,
    ];
    for body in bodies {
        let answer = demo.enroll(ENROLL, JSON, body).await;
        let start: String = String::from_utf8_lossy(body).chars().take(40).collect();
        assert_eq!(answer.problem(), (400, "malformed-json".to_owned()), "{start}");
    }
}

#[tokio::test]
async fn a_field_that_we_do_not_know_is_422_without_its_value() {
    let demo = Demo::start().await;

    let answer = demo
        .enroll(ENROLL, JSON, br#"{"csr":"x","wg_private_key":"hunter2"}"#)
        .await;

    assert_eq!(answer.problem(), (422, "invalid-field".to_owned()));
    assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"));
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_503() {
    let demo = Demo::start_with(Setup {
        answer_within: Some(Duration::from_millis(20)),
        ..Setup::default()
    })
    .await;

    let answer = demo.get("/slow").await;

    assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_body_that_its_client_does_not_deliver_is_408_and_the_end() {
    let demo = Demo::start_with(Setup {
        answer_within: Some(Duration::from_millis(20)),
        ..Setup::default()
    })
    .await;
    let chunked = "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n";
    for (path, rest) in [
        (ENROLL, "Content-Length: 9\r\n\r\n{"),
        (ENROLL, chunked),
        ("/slow", chunked),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: demo\r\n{JSON}{rest}");

        let answer = demo.send(head).await;

        assert_eq!(answer.problem(), (408, "request-timeout".to_owned()), "{path} {rest:?}");
        assert!(answer.closed, "{path} {rest:?}");
    }
}

#[tokio::test]
async fn an_answer_that_takes_too_long_after_the_whole_body_is_503() {
    let demo = Demo::start_with(Setup {
        answer_within: Some(Duration::from_millis(20)),
        ..Setup::default()
    })
    .await;

    let answer = demo.enroll("/slow", "", b"{}").await;

    assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
}
