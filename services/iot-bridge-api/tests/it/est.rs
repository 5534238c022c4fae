//! EST (RFC 7030).

use std::sync::atomic::Ordering;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::chassis::server::PeerCertificate;
use http::{Request, StatusCode};
use serde_json::json;

use crate::support::{Answer, TestDevice, World, wireguard_key};

#[tokio::test]
async fn a_client_of_the_standard_gets_its_certificate_then_its_network_then_the_next_certificate() {
    let world = World::new().await;
    let device = TestDevice::new("pump-7");
    let token = world.token_for("pump-7").await;

    let enrolled = world.est("simpleenroll", Some(&token), None, &device.csr).await;

    assert_eq!(enrolled.status, StatusCode::OK, "{enrolled:?}");
    assert_eq!(
        enrolled.headers["content-type"],
        "application/pkcs7-mime; smime-type=certs-only"
    );
    assert_eq!(enrolled.headers["content-transfer-encoding"], "base64");
    let leaf = only_certificate(&enrolled);
    let again = world.est("simpleenroll", Some(&token), None, &device.csr).await;
    assert_eq!(only_certificate(&again), leaf);

    let pem = pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, &leaf).unwrap();
    let key = wireguard_key();
    let body = json!({ "public_key": key });
    let network = world
        .as_device("PUT", "/devices/pump-7/wireguard", &pem, Some(&body))
        .await;
    assert_eq!(network.status, StatusCode::OK, "{network:?}");
    assert!(world.hub.knows(key));
    assert_eq!(world.hub.count(), 1);

    let renewed = world.est("simplereenroll", None, Some(&leaf), &device.csr).await;
    assert_eq!(renewed.status, StatusCode::OK, "{renewed:?}");
    assert_ne!(only_certificate(&renewed), leaf);
}

#[tokio::test]
async fn anyone_may_know_the_authorities_and_what_a_request_should_look_like() {
    let world = World::new().await;

    let authorities = world.ask("GET", "/.well-known/est/cacerts", None, None).await;
    let attributes = world.ask("GET", "/.well-known/est/csrattrs", None, None).await;

    let path = [world.ca.root_pem(), world.ca.intermediate_pem()];
    let path = path.map(|pem| pem_rfc7468::decode_vec(pem.as_bytes()).unwrap().1);
    assert_eq!(certificates(&authorities), path, "all that a leaf alone lacks");
    assert_eq!(attributes.headers["content-type"], "application/csrattrs");
    let der = decode(&attributes);
    assert_eq!(usize::from(der[1]) + 2, der.len());
}

#[tokio::test]
async fn the_same_rules_hold_as_for_any_enrollment() {
    let world = World::new().await;
    let token = world.token_for("pump-7").await;
    let csr = TestDevice::new("pump-7").csr;
    let other = TestDevice::new("pump-8").csr;

    let nobody = world.est("simpleenroll", None, None, &csr).await;
    assert_eq!(nobody.status_and_slug(), (401, "unauthenticated".to_owned()));
    let challenges = nobody.headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenges.starts_with("Basic ") && challenges.contains("Bearer "),
        "{challenges}"
    );
    let guess = world.est("simpleenroll", Some("ibt_guess"), None, &csr).await;
    assert_eq!(guess.status, StatusCode::UNAUTHORIZED);
    let neighbour = world.est("simpleenroll", Some(&token), None, &other).await;
    assert_eq!(neighbour.status_and_slug(), (403, "device-mismatch".to_owned()));
    let without = world.est("simplereenroll", None, None, &csr).await;
    assert_eq!(without.status_and_slug(), (401, "unauthenticated".to_owned()));
    let (_, leaf) = world.certified("pump-9").await;
    let (_, leaf) = pem_rfc7468::decode_vec(leaf.as_bytes()).unwrap();
    let stranger = world.est("simplereenroll", None, Some(&leaf), &csr).await;
    assert_eq!(stranger.status_and_slug(), (422, "csr-rejected".to_owned()));
    let nonsense = pem_rfc7468::encode_string("X", pem_rfc7468::LineEnding::LF, b"hello").unwrap();
    let nonsense = world.est("simpleenroll", Some(&token), None, &nonsense).await;
    assert_eq!(nonsense.status_and_slug(), (400, "csr-malformed".to_owned()));
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let world = World::new().await;
    let token = world.token_for("pump-7").await;
    let request = Request::post("/.well-known/est/simpleenroll")
        .header(
            "authorization",
            format!("Basic {}", STANDARD.encode(format!("x:{token}"))),
        )
        .header("content-type", "text/plain")
        .body(Body::from("AAAA"));

    let answer = world.send(request.unwrap()).await;

    assert_eq!(answer.status_and_slug(), (415, "unsupported-media-type".to_owned()));
}

#[tokio::test]
async fn a_device_that_was_shut_out_gets_nothing_by_est_at_once() {
    let world = World::new().await;
    let device = TestDevice::new("pump-7");
    let token = world.token_for("pump-7").await;
    let enrolled = world.est("simpleenroll", Some(&token), None, &device.csr).await;
    let leaf = only_certificate(&enrolled);
    let signed = world.ca.signed.load(Ordering::Relaxed);
    let ask = async || {
        let enroll = world.est("simpleenroll", Some(&token), None, &device.csr).await;
        let renew = world.est("simplereenroll", None, Some(&leaf), &device.csr).await;
        [enroll.status_and_slug(), renew.status_and_slug()]
    };

    world.admin("POST", "/devices/pump-7/quarantine").await;
    let quarantined = ask().await;
    world.admin("DELETE", "/devices/pump-7").await;
    let decommissioned = ask().await;

    assert_eq!(
        quarantined,
        [
            (403, "device-quarantined".to_owned()),
            (403, "device-quarantined".to_owned())
        ]
    );
    assert_eq!(
        decommissioned,
        [
            (410, "device-decommissioned".to_owned()),
            (401, "unauthenticated".to_owned())
        ]
    );
    assert_eq!(world.ca.signed.load(Ordering::Relaxed), signed);
}

impl World {
    /// Posts a request as an EST client does; the token is the password of `Basic`.
    pub(crate) async fn est(&self, operation: &str, token: Option<&str>, leaf: Option<&[u8]>, csr: &str) -> Answer {
        let (_, der) = pem_rfc7468::decode_vec(csr.as_bytes()).unwrap();
        let mut request = Request::post(format!("/.well-known/est/{operation}"))
            .header("content-type", "application/pkcs10")
            .header("content-transfer-encoding", "base64");
        if let Some(token) = token {
            let basic = STANDARD.encode(format!("pump-7:{token}"));
            request = request.header("authorization", format!("Basic {basic}"));
        }
        let mut request = request.body(Body::from(STANDARD.encode(der) + "\n")).unwrap();
        if let Some(leaf) = leaf {
            request.extensions_mut().insert(PeerCertificate(leaf.to_vec().into()));
        }
        self.send(request).await
    }
}

fn only_certificate(answer: &Answer) -> Vec<u8> {
    let [certificate] = certificates(answer).try_into().unwrap();
    certificate
}

/// Finds the certificates in a PKCS #7, at the place where they stand.
fn certificates(answer: &Answer) -> Vec<Vec<u8>> {
    let der = decode(answer);
    let after = |needle: &[u8]| der.windows(needle.len()).position(|window| window == needle).unwrap() + needle.len();
    let data = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
    let element = |der: &[u8], tag: u8| {
        assert_eq!(der[..2], [tag, 0x82]);
        4 + usize::from(u16::from_be_bytes([der[2], der[3]]))
    };
    let set = &der[after(&data)..];
    let mut rest = &set[4..element(set, 0xa0)];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (certificate, after) = rest.split_at(element(rest, 0x30));
        found.push(certificate.to_vec());
        rest = after;
    }
    found
}

/// Decodes as a client does that knows no line breaks but the last.
fn decode(answer: &Answer) -> Vec<u8> {
    STANDARD.decode(answer.body.strip_suffix(b"\n").unwrap()).unwrap()
}
