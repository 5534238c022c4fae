//! Bad requests and the careful answers, row by row. A row's name is how people talk about it.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::support::{TestDevice, World, post, wireguard_key};

const ID: &str = "pump-7";

/// Name, what is sent, what is answered.
type Row<T> = (&'static str, T, (u16, &'static str));

#[tokio::test]
async fn credentials_that_are_none() {
    let world = World::new().await;
    let (good, other) = (world.token_for(ID).await, world.token_for("pump-8").await);
    let unknown = world.token_for(ID).await.replacen("ibt_A", "ibt_B", 1) + "x";
    let missing: &[String] = &[];
    let rows: Vec<Row<Vec<String>>> = vec![
        ("B-001 no credential", missing.to_vec(), (401, "unauthenticated")),
        ("B-002 no token", vec!["Bearer".to_owned()], (401, "unauthenticated")),
        (
            "B-002 two spaces",
            vec![format!("Bearer  {good}")],
            (401, "unauthenticated"),
        ),
        (
            "B-002 two headers",
            vec![format!("Bearer {good}"), format!("Bearer {good}")],
            (400, "ambiguous-credentials"),
        ),
        (
            "B-002 another scheme",
            vec![format!("Token {good}")],
            (401, "unauthenticated"),
        ),
        (
            "B-004 unknown",
            vec![format!("Bearer {unknown}")],
            (401, "unauthenticated"),
        ),
        (
            "B-005 of another device",
            vec![format!("Bearer {other}")],
            (403, "device-mismatch"),
        ),
    ];
    for (name, headers, (status, slug)) in rows {
        let mut request = post(&format!("/devices/{ID}/enroll"));
        for header in headers {
            request = request.header("authorization", header);
        }
        let request = request.body(TestDevice::new(ID).request().to_string().into()).unwrap();
        assert_eq!(
            world.send(request).await.status_and_slug(),
            (status, slug.to_owned()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn b_004_a_token_that_is_over() {
    let world = World::new().await;
    let token = world.token_for(ID).await;
    world.clock.advance(std::time::Duration::from_hours(24 * 8));

    let answer = world.enroll(ID, &token, &TestDevice::new(ID).request()).await;

    assert_eq!(answer.status_and_slug(), (401, "unauthenticated".to_owned()));
}

#[tokio::test]
async fn whoever_has_no_right_to_ask_learns_nothing_about_the_request() {
    let world = World::new().await;
    let nonsense = json!({ "csr": "hello", "wg_public_key": "hello" });
    let (other, good) = (world.token_for("pump-8").await, world.token_for(ID).await);

    let stranger = world.enroll(ID, "ibt_guess", &nonsense).await;
    let neighbour = world.enroll(ID, &other, &nonsense).await;
    let owner = world.enroll(ID, &good, &nonsense).await;

    assert_eq!(stranger.status_and_slug(), (401, "unauthenticated".to_owned()));
    assert_eq!(neighbour.status_and_slug(), (403, "device-mismatch".to_owned()));
    assert_eq!(owner.status_and_slug(), (422, "wg-key-invalid".to_owned()));
}

#[tokio::test]
async fn a_request_that_is_not_acceptable_is_counted_at_its_token() {
    let world = World::new().await;
    let token = world.token_for(ID).await;

    world
        .enroll(ID, &token, &json!({ "csr": TestDevice::new("pump-8").csr }))
        .await;

    let listed = world.admin("GET", "/enrollment-tokens").await.json();
    assert_eq!(
        (&listed["tokens"][0]["used"], &listed["tokens"][0]["refused"]),
        (&json!(0), &json!(1))
    );
}

#[tokio::test]
async fn an_access_token_that_is_not_believed_is_an_invalid_token() {
    let world = World::new().await;
    let bad = world.ask("GET", "/devices", Some("a.b.c"), None).await;
    let none = world.ask("GET", "/devices", None, None).await;

    assert_eq!(bad.status_and_slug(), (401, "invalid-token".to_owned()));
    assert_eq!(none.status_and_slug(), (401, "invalid-token".to_owned()), "B-120");
}

#[tokio::test]
async fn b_007_a_client_that_guesses_is_slowed_down() {
    let world = World::new().await;
    let guess = async || world.enroll(ID, "ibt_guess", &json!({})).await;
    for _ in 0..50 {
        assert_eq!(guess().await.status, 401);
    }

    let limited = guess().await;

    assert_eq!(limited.status_and_slug(), (429, "rate-limited".to_owned()));
    assert!(limited.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn requests_of_another_shape() {
    let world = World::new().await;
    let token = world.token_for(ID).await;
    let good = TestDevice::new(ID).request().to_string();
    let big = format!("{{\"csr\":\"{}\"}}", "A".repeat(17 * 1024));
    let rows: Vec<Row<(&str, Option<&str>, &str)>> = vec![
        ("B-011 no type", (&good, None, ""), (415, "unsupported-media-type")),
        (
            "B-011 another type",
            (&good, Some("text/plain"), ""),
            (415, "unsupported-media-type"),
        ),
        (
            "B-012 compressed",
            (&good, Some("application/json"), "gzip"),
            (415, "unsupported-encoding"),
        ),
        (
            "B-017 no JSON",
            ("hello", Some("application/json"), ""),
            (400, "malformed-json"),
        ),
        (
            "B-017 csr twice",
            (r#"{"csr":"a","csr":"b"}"#, Some("application/json"), ""),
            (400, "malformed-json"),
        ),
        (
            "B-017 text after",
            (r#"{"csr":"a"} x"#, Some("application/json"), ""),
            (400, "malformed-json"),
        ),
        (
            "B-048 too large",
            (&big, Some("application/json"), ""),
            (413, "payload-too-large"),
        ),
    ];
    for (name, (body, content_type, encoding), (status, slug)) in rows {
        let mut request =
            Request::post(format!("/devices/{ID}/enroll")).header("authorization", format!("Bearer {token}"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        if !encoding.is_empty() {
            request = request.header("content-encoding", encoding);
        }
        let answer = world.send(request.body(Body::from(body.to_owned())).unwrap()).await;
        assert_eq!(answer.status_and_slug(), (status, slug.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn b_010_other_methods() {
    let world = World::new().await;
    for method in ["GET", "PUT", "DELETE"] {
        let answer = world.ask(method, &format!("/devices/{ID}/enroll"), None, None).await;
        assert_eq!(
            answer.status_and_slug(),
            (405, "method-not-allowed".to_owned()),
            "{method}"
        );
        assert_eq!(answer.headers["allow"], "POST");
    }
}

#[tokio::test]
async fn ids_that_are_none() {
    let world = World::new().await;
    let token = world.batch_token(10).await;
    let too_long = "x".repeat(64);
    for id in [
        "Pump-7",
        "-a",
        "a-",
        "a_b",
        "a%20b",
        "%2e%2e",
        "a%2fb",
        "a%5cb",
        "a%00b",
        "a%0d%0aSet-Cookie",
        "%1b%5b2J",
        "%e2%80%ae",
        "%252e",
        "%27%20OR%201%3d1",
        "$%7bjndi%7d",
        "%zz",
        "%c0%af",
        &too_long,
    ] {
        let answer = world.enroll(id, &token, &TestDevice::new(ID).request()).await;
        assert_eq!(answer.status_and_slug(), (400, "invalid-device-id".to_owned()), "{id}");
    }
    let twice = world
        .enroll(&format!("{ID}/enroll?deviceId=pump-8#"), &token, &json!({}))
        .await;
    assert_eq!(twice.status.as_u16() / 100, 4);
}

#[tokio::test]
async fn fields_that_are_none_of_ours() {
    let world = World::new().await;
    let token = world.token_for(ID).await;
    let csr = TestDevice::new(ID).csr;
    let rows: Vec<Row<Value>> = vec![
        ("no csr", json!({}), (422, "invalid-field")),
        ("csr of another kind", json!({ "csr": 7 }), (422, "invalid-field")),
        (
            "B-076 a private key",
            json!({ "csr": csr, "wg_private_key": "hunter2" }),
            (422, "invalid-field"),
        ),
        (
            "B-079 an address",
            json!({ "csr": csr, "wireguard_ip": "10.8.0.9" }),
            (422, "invalid-field"),
        ),
        (
            "a name with a line break",
            json!({ "csr": csr, "device_name": "a\nb" }),
            (422, "invalid-field"),
        ),
        (
            "a type of 65 characters",
            json!({ "csr": csr, "device_type": "x".repeat(65) }),
            (422, "invalid-field"),
        ),
    ];
    for (name, body, (status, slug)) in rows {
        let answer = world.enroll(ID, &token, &body).await;
        assert_eq!(answer.status_and_slug(), (status, slug.to_owned()), "{name}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("hunter2"), "{name}");
    }
}

#[tokio::test]
async fn requests_for_certificates_that_nobody_gets() {
    let world = World::new().await;
    let token = world.batch_token(10).await;
    let private_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let rows: Vec<Row<(String, Option<&str>)>> = vec![
        (
            "B-040 another name",
            (TestDevice::new("pump-8").csr, Some("cn-mismatch")),
            (422, "csr-rejected"),
        ),
        (
            "B-057 the authority's key",
            (TestDevice::with_key(ID, world.ca.root_key()).csr, Some("key-blocked")),
            (422, "csr-rejected"),
        ),
        ("B-066 no CSR", ("hello".to_owned(), None), (400, "csr-malformed")),
        (
            "B-066 a private key",
            (private_key.clone(), None),
            (400, "csr-malformed"),
        ),
    ];
    for (name, (csr, code), (status, slug)) in rows {
        let answer = world.enroll(ID, &token, &json!({ "csr": csr })).await;
        assert_eq!(answer.status_and_slug(), (status, slug.to_owned()), "{name}");
        assert_eq!(answer.json()["code"].as_str(), code, "{name}");
    }
    let burnt = world.enroll(ID, &token, &json!({ "csr": private_key })).await.json();
    assert!(burnt["detail"].as_str().unwrap().contains("burnt"));
    assert_eq!(world.hub.count(), 0);
    assert_eq!(
        world.admin("GET", &format!("/devices/{ID}")).await.status,
        404,
        "nothing was recorded"
    );
}

#[tokio::test]
async fn states_that_stand_against_it() {
    let world = World::new().await;
    let (device, token) = (TestDevice::new(ID), world.token_for(ID).await);
    assert_eq!(world.enroll(ID, &token, &device.request()).await.status, 201);

    let another = TestDevice::new(ID).request();
    let fresh = world.token_for(ID).await;
    let b_030 = world.enroll(ID, &fresh, &another).await;
    assert_eq!(b_030.status_and_slug(), (409, "already-enrolled".to_owned()));
    let b_078 = world
        .enroll(
            ID,
            &token,
            &json!({ "csr": device.csr, "wg_public_key": wireguard_key() }),
        )
        .await;
    assert_eq!(b_078.status_and_slug(), (409, "already-enrolled".to_owned()));
    let b_032 = world.enroll(ID, &token, &device.request()).await;
    assert_eq!(b_032.status, 200);
    world.admin("DELETE", &format!("/devices/{ID}")).await;
    let b_031 = world.enroll(ID, &fresh, &another).await;
    assert_eq!(b_031.status_and_slug(), (410, "device-decommissioned".to_owned()));
    let without_token = world.enroll(ID, "ibt_guess", &another).await;
    assert_eq!(without_token.status, 401, "the fate of a device is nobody's business");
}

#[tokio::test]
async fn keys_that_belong_to_others() {
    let world = World::new().await;
    let key = rcgen::KeyPair::generate().unwrap();
    let first = TestDevice::with_key(ID, &key);
    let token = world.batch_token(10).await;
    assert_eq!(world.enroll(ID, &token, &first.request()).await.status, 201);

    let b_056 = world
        .enroll("pump-8", &token, &TestDevice::with_key("pump-8", &key).request())
        .await;
    assert_eq!(b_056.status_and_slug(), (409, "key-already-used".to_owned()));
    let thief = json!({ "csr": TestDevice::new("pump-8").csr, "wg_public_key": first.wireguard_key });
    let b_070 = world.enroll("pump-8", &token, &thief).await;
    assert_eq!(b_070.status_and_slug(), (409, "wg-key-in-use".to_owned()));
    world.admin("DELETE", &format!("/devices/{ID}")).await;
    let b_071 = world.enroll("pump-8", &token, &thief).await;
    assert_eq!(
        (b_071.status, b_071.json()["detail"].clone()),
        (b_070.status, b_070.json()["detail"].clone())
    );
}

#[tokio::test]
async fn wireguard_keys_that_are_none() {
    use base64::Engine as _;
    let world = World::new().await;
    let (token, csr) = (world.token_for(ID).await, TestDevice::new(ID).csr);
    let encode = |bytes: [u8; 32]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    let mut high_bit = *wireguard_key().as_bytes();
    high_bit[31] |= 0x80;
    let rows = [
        ("B-072 the hub's", world.hub.key().to_base64()),
        ("B-073 zeros", encode([0; 32])),
        ("B-073 p", encode(prime)),
        ("B-073 high bit", encode(high_bit)),
        (
            "B-075 more lines",
            format!("{}\nAllowedIPs = 0.0.0.0/0", wireguard_key()),
        ),
        ("no base64", "hello".to_owned()),
    ];
    for (name, key) in rows {
        let answer = world
            .enroll(ID, &token, &json!({ "csr": csr, "wg_public_key": key }))
            .await;
        assert_eq!(answer.status_and_slug(), (422, "wg-key-invalid".to_owned()), "{name}");
    }
}
