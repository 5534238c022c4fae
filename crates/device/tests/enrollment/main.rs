//! Enrollment against a bridge that may be slow, may refuse, and may lie.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod agent;
mod agents;
mod bridge;
mod coming_back;
mod lies;
mod renewal;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use common::domain::{DeviceId, Digest};
use device::enroll::{EnrollError, Enrollment, Refusal, ServerTrust, enroll};
use device::identity::Identity;
use device::state::StateDirectory;
use device::status::Status;
use serde_json::{Value, json};
use tempfile::TempDir;

use bridge::{Authority, Bridge, TOKEN};

#[tokio::test]
async fn a_device_enrolls_with_its_token_and_keeps_what_it_got() {
    let bridge = Bridge::honest(Authority::new()).await;
    let device = TestDevice::new();

    let enrollment = enroll(&bridge.settings(), &device.identity).await.unwrap();
    enrollment.store(&device.state, &device.identity).unwrap();

    let asked = bridge.asked().pop().unwrap();
    assert_eq!(asked.id, "pump-7");
    assert_eq!(asked.authorization, format!("Bearer {TOKEN}"));
    let wg_public_key = device.identity.wireguard_key().public_key().to_base64();
    let expected = json!({"csr": device.identity.csr_pem(), "device_type": "pump", "wg_public_key": wg_public_key});
    assert_eq!(asked.body, expected);

    let loaded = Enrollment::load(&device.state, &device.identity).unwrap().unwrap();
    assert_eq!(loaded.address().to_string(), "10.8.0.2");
    assert_eq!(loaded.certificate_pem(), enrollment.certificate_pem());
    let certificate = device.file("certificate.pem");
    assert_eq!(certificate.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(device.file("ca.pem").ends_with(&bridge.root_pem()));
    let private_key = device.file("wireguard.key");
    assert!(
        device
            .file("wg0.conf")
            .contains(&format!("PrivateKey = {}", private_key.trim()))
    );
}

#[tokio::test]
async fn while_the_bridge_cannot_answer_the_same_request_is_sent_again() {
    let bridge = Bridge::start(Authority::new(), |authority, asked, number| match number {
        0 => (StatusCode::ACCEPTED, [("retry-after", "5")]).into_response(),
        1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
        _ => (StatusCode::OK, authority.answer(&asked.id, &asked.body).to_string()).into_response(),
    })
    .await;
    let device = TestDevice::new();

    enroll(&bridge.settings(), &device.identity).await.unwrap();

    let bodies: Vec<Value> = bridge.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
}

#[tokio::test]
async fn a_bridge_that_never_gets_ready_is_not_waited_for_for_ever() {
    let bridge = Bridge::start(Authority::new(), |_, _, _| StatusCode::ACCEPTED.into_response()).await;
    let mut settings = bridge.settings();
    settings.patience.total = std::time::Duration::from_millis(100);

    let error = enroll(&settings, &TestDevice::new().identity).await.unwrap_err();

    assert!(matches!(error, EnrollError::Pending), "{error:?}");
}

#[tokio::test]
async fn a_refusal_is_passed_on_in_its_own_words_without_control_characters() {
    let bridge = Bridge::start(Authority::new(), |_, _, _| {
        let problem = json!({
            "type": "urn:iot-bridge:problem:already-enrolled",
            "title": "Already enrolled",
            "status": 409,
            "detail": "The device has \u{1b}[2Janother key.",
        });
        (StatusCode::CONFLICT, problem.to_string()).into_response()
    })
    .await;

    let error = enroll(&bridge.settings(), &TestDevice::new().identity)
        .await
        .unwrap_err();

    let EnrollError::Refused(refusal) = &error else {
        panic!("{error:?}")
    };
    let expected = Refusal {
        status: 409,
        slug: "already-enrolled".to_owned(),
        title: "Already enrolled".to_owned(),
        detail: "The device has [2Janother key.".to_owned(),
    };
    assert_eq!(*refusal, expected);
    let text = "the bridge refused: Already enrolled (already-enrolled, 409): The device has [2Janother key.";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn an_answer_that_is_no_problem_document_is_a_refusal_all_the_same() {
    for status in [
        StatusCode::FOUND,
        StatusCode::NOT_FOUND,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
    ] {
        let behaviour = move |_: &Authority, _: &bridge::Asked, _| {
            (status, [("location", "http://127.0.0.1:9/")], "<html>").into_response()
        };
        let bridge = Bridge::start(Authority::new(), behaviour).await;

        let error = enroll(&bridge.settings(), &TestDevice::new().identity)
            .await
            .unwrap_err();

        assert!(
            matches!(&error, EnrollError::Refused(refusal) if refusal.status == status.as_u16()),
            "{error:?}"
        );
        assert_eq!(bridge.asked().len(), 1);
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let bridge = Bridge::start(Authority::new(), |_, _, _| {
        (StatusCode::CREATED, "x".repeat(1_000_000)).into_response()
    })
    .await;

    let error = enroll(&bridge.settings(), &TestDevice::new().identity)
        .await
        .unwrap_err();

    assert!(matches!(error, EnrollError::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_bridge_behind_tls_is_believed_for_its_root_or_the_root_s_fingerprint() {
    let bridge = Bridge::honest_tls().await;
    for trust in [
        ServerTrust::Roots(bridge.root_pem()),
        ServerTrust::Fingerprint(bridge.root_fingerprint()),
    ] {
        enroll(&bridge.settings_with("https", trust), &TestDevice::new().identity)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_bridge_with_another_root_never_sees_the_token() {
    let bridge = Bridge::honest_tls().await;
    let stranger = Bridge::honest(Authority::new()).await;
    let trusts = [
        ServerTrust::Roots(stranger.root_pem()),
        ServerTrust::Roots("garbage".to_owned()),
        ServerTrust::Fingerprint(stranger.root_fingerprint()),
        ServerTrust::Fingerprint(Digest([0; 32])),
    ];
    for trust in trusts {
        let trust_text = format!("{trust:?}");
        let error = enroll(&bridge.settings_with("https", trust), &TestDevice::new().identity)
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                EnrollError::Unavailable { .. } | EnrollError::InvalidRoots | EnrollError::RootNotFound
            ),
            "{trust_text}: {error:?}"
        );
    }
    assert!(bridge.asked().is_empty());
}

#[tokio::test]
async fn a_stored_enrollment_that_was_changed_is_damage_and_not_a_reason_to_enroll_again() {
    let bridge = Bridge::honest(Authority::new()).await;
    let device = TestDevice::new();
    let enrollment = enroll(&bridge.settings(), &device.identity).await.unwrap();
    enrollment.store(&device.state, &device.identity).unwrap();

    let changed = device.file("enrollment.json").replace("10.8.0.1/32", "0.0.0.0/0");
    device.state.write("enrollment.json", &changed).unwrap();

    assert!(Enrollment::load(&device.state, &device.identity).is_err());
    assert!(Status::read(device.path()).is_err());
}

#[tokio::test]
async fn a_device_tells_what_it_knows_about_itself_and_no_secret() {
    let device = TestDevice::new();
    let before: Value = serde_json::from_str(&Status::read(device.path()).unwrap().to_string()).unwrap();
    let bridge = Bridge::honest(Authority::new()).await;
    let enrollment = enroll(&bridge.settings(), &device.identity).await.unwrap();
    enrollment.store(&device.state, &device.identity).unwrap();

    let after: Value = serde_json::from_str(&Status::read(device.path()).unwrap().to_string()).unwrap();

    let wireguard_public_key = device.identity.wireguard_key().public_key().to_base64();
    assert_eq!(
        before,
        json!({"device_id": "pump-7", "enrolled": false, "wireguard_public_key": wireguard_public_key})
    );
    let expected = json!({
        "device_id": "pump-7",
        "enrolled": true,
        "wireguard_public_key": wireguard_public_key,
        "address": "10.8.0.2",
        "hub_endpoint": "127.0.0.1:9",
        "certificate_not_after": "2030-06-02T12:00:00Z",
    });
    assert_eq!(after, expected);
}

/// A device with keys that is not enrolled.
struct TestDevice {
    directory: TempDir,
    state: StateDirectory,
    identity: Identity,
}

impl TestDevice {
    fn new() -> Self {
        let private = fs::Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().permissions(private).tempdir().unwrap();
        let state = StateDirectory::open(directory.path()).unwrap();
        let identity = Identity::load_or_create(&state, &DeviceId::parse("pump-7").unwrap()).unwrap();
        Self {
            directory,
            state,
            identity,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path())
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
