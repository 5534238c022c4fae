//! No secret gets out: the built program, at its most talkative, is led through everything that has secrets in it, and
//! then through everything that goes wrong; afterwards nothing that it wrote, counted or was started with has one.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::{Client, Identity, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::bad_inputs::USUAL_NETWORK;
use crate::bad_inputs::stage::{Place, Stage};
use crate::support::TestDevice;

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_a_metric_an_argument_or_the_environment() {
    let stage = Stage::new(Place::Program, USUAL_NETWORK).await;
    let mut secrets = stage.secrets();
    let walk = Walk::new(&stage);

    secrets.extend(walk.what_goes_well().await);
    secrets.extend(walk.what_goes_wrong().await);

    let metrics = walk.get("/metrics").send().await.unwrap().text().await.unwrap();
    let (log, outside) = (stage.log(), stage.seen_from_outside());
    assert!(
        log.contains("canary-1") && log.contains("TRACE") && metrics.contains("http"),
        "it says nothing at all"
    );
    assert!(outside.contains("TOKEN_PEPPER_FILE"));
    for (place, text) in [("log", &log), ("metrics", &metrics), ("process", &outside)] {
        for secret in &secrets {
            let hex = hex(secret);
            for form in [
                secret.clone(),
                STANDARD.encode(secret),
                URL_SAFE_NO_PAD.encode(secret),
                hex,
            ] {
                assert!(!text.contains(&form), "{place} has {secret}: {}", around(text, &form));
            }
        }
        // A one-time token for the authority, an access token: no JWT at all.
        assert!(!text.contains("eyJ"), "{place} has a JWT: {}", around(text, "eyJ"));
    }
}

/// Whoever walks through the service.
struct Walk<'a> {
    stage: &'a Stage,
    plain: Client,
}

impl<'a> Walk<'a> {
    fn new(stage: &'a Stage) -> Self {
        let plain = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        Self { stage, plain }
    }

    /// Enrolls, renews and administrates; returns the secrets that came up.
    async fn what_goes_well(&self) -> Vec<String> {
        let token = self.stage.word("token");
        let key = rcgen::KeyPair::generate().unwrap();
        let device = TestDevice::with_key("canary-1", &key);
        let enroll = self.post("/devices/canary-1/enroll").bearer_auth(&token);
        let (status, enrolled) = told(enroll.json(&json!({ "csr": device.csr }))).await;
        assert_eq!(status, StatusCode::CREATED);
        let config = enrolled["wireguard_config"].as_str().unwrap();
        let made_for_it = config
            .lines()
            .find_map(|line| line.strip_prefix("PrivateKey = "))
            .unwrap();

        let chain = enrolled["certificate_chain"].as_str().unwrap().to_owned();
        let as_device = as_device(&chain, &key);
        let on_tls = |path: &str| as_device.post(format!("https://{}{path}", self.stage.tls));
        let next = json!({ "csr": TestDevice::with_key("canary-1", &key).csr });
        assert_eq!(
            told(on_tls("/devices/canary-1/renew").json(&next)).await.0,
            StatusCode::CREATED
        );
        assert_eq!(told(on_tls("/devices/canary-1/checkin")).await.0, StatusCode::OK);

        let csr = base64_of(&TestDevice::new("canary-2").csr);
        let est = self
            .post("/.well-known/est/simpleenroll")
            .basic_auth("canary-2", Some(&token));
        let est = est.header("content-type", "application/pkcs10").body(csr);
        assert_eq!(est.send().await.unwrap().status(), StatusCode::OK);

        let admin = self.stage.word("admin");
        let order = self
            .post("/enrollment-tokens")
            .bearer_auth(&admin)
            .json(&json!({ "id_pattern": "x-*", "quota": 9 }));
        let (status, made) = told(order).await;
        assert_eq!(status, StatusCode::CREATED);
        let gone = self
            .plain
            .delete(format!("http://{}/devices/canary-1", self.stage.plain));
        assert_eq!(told(gone.bearer_auth(&admin)).await.0, StatusCode::OK);
        vec![
            made_for_it.to_owned(),
            made["token"].as_str().unwrap().to_owned(),
            key_line(&key.serialize_pem()),
        ]
    }

    /// Puts secrets where they do not belong, and has things fail that have secrets in their hands.
    async fn what_goes_wrong(&self) -> Vec<String> {
        let (token, admin) = (self.stage.word("token"), self.stage.word("admin"));
        let (mistyped, hunter) = (format!("{token}x"), "hunter2-hunter2-hunter2");
        let enroll = |id: &str| self.post(&format!("/devices/{id}/enroll"));
        let good = |id: &str| TestDevice::new(id).request();
        let wrong = [
            enroll("canary-3").bearer_auth(&mistyped).json(&good("canary-3")),
            enroll("canary-3")
                .basic_auth("canary-3", Some(&mistyped))
                .json(&good("canary-3")),
            enroll("canary-3").header("authorization", format!("Bearer {token} {token}")),
            enroll("canary-3")
                .bearer_auth(&token)
                .json(&json!({ "csr": self.stage.burnt_key })),
            enroll("canary-3")
                .bearer_auth(&token)
                .json(&json!({ "csr": "x", "wg_private_key": hunter })),
            enroll("canary-3")
                .bearer_auth(&token)
                .body(format!("{{\"csr\": \"{hunter}")),
            enroll(&token).bearer_auth(&token),
            self.post(&format!("/devices/canary-3/enroll?token={token}&access_token={admin}")),
            self.get("/devices").bearer_auth(format!("{admin}x")),
            self.get(&format!("/devices?token={admin}")),
            self.get(&format!("/{token}")),
        ];
        for request in wrong {
            let status = request.send().await.unwrap().status();
            assert!(status.is_client_error(), "{status}");
        }
        for mood in ["away", "refuses", "speaks-html", "signs-for-another", "good"] {
            self.stage.authority().is_called(mood);
            enroll("canary-4")
                .bearer_auth(&token)
                .json(&good("canary-4"))
                .send()
                .await
                .unwrap();
        }
        vec![mistyped, hunter.to_owned()]
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.ask(Method::POST, path)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.ask(Method::GET, path)
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.plain.request(method, format!("http://{}{path}", self.stage.plain))
    }
}

fn as_device(chain: &str, key: &rcgen::KeyPair) -> Client {
    let identity = Identity::from_pem(format!("{chain}{}", key.serialize_pem()).as_bytes()).unwrap();
    let client = Client::builder()
        .identity(identity)
        .tls_danger_accept_invalid_certs(true);
    client.no_proxy().build().unwrap()
}

async fn told(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// The body of a PEM block.
fn base64_of(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}

fn hex(text: &str) -> String {
    let digit = |number: u8| char::from_digit(u32::from(number), 16).unwrap();
    text.bytes()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// A line of a private key that no other key has.
fn key_line(pem: &str) -> String {
    pem.lines().nth(2).unwrap().to_owned()
}

fn around(text: &str, found: &str) -> String {
    let line = text.lines().find(|line| line.contains(found));
    line.unwrap_or_default().chars().take(400).collect()
}
