//! Device ids in the path, as attackers write them.

use crate::support::{Answer, Demo};

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn what_is_no_device_id_is_400() {
    let demo = Demo::start().await;
    let too_long = "x".repeat(64);
    let ids = [
        "",
        too_long.as_str(),
        "Pump-7",
        "-pump",
        "pump-",
        "pump_7",
        "pump%207",
        "%20pump",
        "..",
        ".",
        "%2e%2e%2f",
        "%2e%2e",
        "a%2fb",
        "a%5cb",
        "a%00b",
        "%0d%0aSet-Cookie:x",
        "a%0a[Peer]",
        "%23%20x%0aPostUp=reboot",
        "%1b[2J",
        "a%07",
        "a%c2%9b",
        "a%e2%80%ae",
        "a%e2%80%8b",
        "p%d0%b0mp",
        "%f0%9f%98%80",
        "%252e",
        "a%252fb",
        "'%20OR%201=1%20--",
        "$%7Bjndi:ldap:x%7D",
        "%7B%7B7*7%7D%7D",
        ";reboot",
        "$(id)",
        "%zz",
        "a%",
        "%c0%af",
        "%ff",
        "pump-7;v=1",
    ];
    for id in ids {
        let answer = enroll(&demo, &format!("/devices/{id}/enroll")).await;
        assert_eq!(answer.problem(), (400, "invalid-device-id".to_owned()), "{id}");
    }
}

#[tokio::test]
async fn raw_bytes_in_the_request_line_never_reach_a_device() {
    let demo = Demo::start().await;

    for id in [&b"\x1b[2J"[..], b"\x07", b"a b", b"\xe2\x80\xae", b"\x9b"] {
        let request = [
            b"POST /devices/",
            id,
            b"/enroll HTTP/1.1\r\nHost: demo\r\nContent-Length: 0\r\n\r\n",
        ]
        .concat();
        assert_eq!(demo.send(request).await.status, 400, "{id:?}");
    }
}

#[tokio::test]
async fn other_spellings_of_the_path_are_404() {
    let demo = Demo::start().await;

    for path in [
        "/devices/pump-7/enroll/",
        "//devices/pump-7/enroll",
        "/devices/pump-7/enroll;v=1",
    ] {
        assert_eq!(
            enroll(&demo, path).await.problem(),
            (404, "not-found".to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_device_that_is_named_twice_is_400() {
    let demo = Demo::start().await;

    for query in [
        "deviceId=pump-7",
        "x=1&deviceId=other",
        "device_id=pump-7",
        "device%49d=other",
    ] {
        let answer = enroll(&demo, &format!("/devices/pump-7/enroll?{query}")).await;
        assert_eq!(answer.problem(), (400, "ambiguous-parameter".to_owned()), "{query}");
    }
    assert_eq!(enroll(&demo, "/devices/pump-7/enroll?verbose=1").await.status, 201);
}

#[tokio::test]
async fn percent_encoding_is_undone_once() {
    let demo = Demo::start().await;

    let answer = enroll(&demo, "/devices/pump%2D7/enroll").await;

    assert_eq!(answer.json()["device_id"], "pump-7");
}

async fn enroll(demo: &Demo, path: &str) -> Answer {
    demo.enroll(path, JSON, br#"{"csr":"x"}"#).await
}
