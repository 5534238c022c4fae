//! Answers that a device must not believe.

use common::domain::WireguardPrivateKey;
use device::enroll::{EnrollError, enroll};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, SanType};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::TestDevice;
use crate::bridge::{self, Authority, Bridge, created, leaf_params};

#[tokio::test]
async fn a_certificate_that_is_not_ours_is_not_believed() {
    type Change = fn(&mut CertificateParams);
    let changes: [(&str, Change); 6] = [
        ("another name", |leaf| {
            leaf.distinguished_name = leaf_params("pump-8").distinguished_name;
        }),
        ("another name", |leaf| {
            leaf.subject_alt_names = leaf_params("pump-8").subject_alt_names;
        }),
        ("another name", |leaf| {
            leaf.subject_alt_names.push(SanType::IpAddress([10, 8, 0, 1].into()));
        }),
        ("not one for a client", |leaf| {
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        ("not one for a client", |leaf| {
            leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }),
        ("server's own time", |leaf| leaf.not_after = bridge::NOW),
    ];
    for (reason, change) in changes {
        assert_not_believed(reason, move |authority, id, request| {
            let mut leaf = leaf_params(id);
            change(&mut leaf);
            authority.answer_with(id, request, leaf)
        })
        .await;
    }
    assert_not_believed("another key", |authority, id, _| {
        let other = TestDevice::new();
        authority.answer(id, &json!({"csr": other.identity.csr_pem()}))
    })
    .await;
}

#[tokio::test]
async fn a_certificate_that_does_not_lead_to_the_root_beside_it_is_not_believed() {
    assert_not_believed("contradict", |authority, id, request| {
        let mut answer = authority.answer(id, request);
        answer["ca_chain"] = Authority::new().answer(id, request)["ca_chain"].clone();
        answer
    })
    .await;
    assert_not_believed("chain is broken", |authority, id, request| {
        let other = Authority::new().answer(id, request);
        let mut answer = authority.answer(id, request);
        let (ours, theirs) = (text(&answer, "certificate"), text(&other, "certificate"));
        answer["certificate_chain"] = text(&other, "certificate_chain").replace(theirs, ours).into();
        answer["ca_chain"] = other["ca_chain"].clone();
        answer
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_configuration_that_does_more_than_reach_the_hub_is_not_believed() {
    let key = WireguardPrivateKey::generate().to_base64();
    let key = key.expose_secret().to_owned();
    let replacements = [
        (
            "MTU = 1420",
            "MTU = 1420\nPostUp = touch /tmp/owned".to_owned(),
            "more or less",
        ),
        ("10.8.0.1/32", "0.0.0.0/0".to_owned(), "more or less"),
        ("10.8.0.1/32", "10.8.0.1/32, 10.8.0.9/32".to_owned(), "more or less"),
        ("<REPLACE_WITH_DEVICE_PRIVATE_KEY>", key, "private key that is not ours"),
        (
            "Address = 10.8.0.2",
            "Address = 10.8.0.3".to_owned(),
            "addresses contradict",
        ),
        (
            "Address = 10.8.0.2",
            "Address = 10.8.0.1".to_owned(),
            "addresses contradict",
        ),
    ];
    for (from, to, reason) in replacements {
        assert_not_believed(reason, move |authority, id, request| {
            let mut answer = authority.answer(id, request);
            let config = answer["wireguard_config"].as_str().unwrap().replace(from, &to);
            answer["wireguard_config"] = config.into();
            answer
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_of_another_form_or_for_another_device_is_not_believed() {
    assert_not_believed("another device", |authority, _, request| {
        authority.answer("pump-8", request)
    })
    .await;
    for (field, value) in [
        ("certificate", json!(null)),
        ("device_id", json!("../pump-7")),
        ("wireguard_ip", json!("10.8.0.2/24")),
        ("server_time", json!("now")),
    ] {
        assert_not_believed("expected form", move |authority, id, request| {
            let mut answer = authority.answer(id, request);
            answer[field] = value.clone();
            answer
        })
        .await;
    }
    for text in [
        "",
        "garbage",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        assert_not_believed("cannot be read", move |authority, id, request| {
            let mut answer = authority.answer(id, request);
            answer["certificate"] = text.into();
            answer
        })
        .await;
    }
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap()
}

/// Nothing of a bad answer is kept, and the device can still enroll.
async fn assert_not_believed(reason: &str, answer: impl Fn(&Authority, &str, &Value) -> Value + Send + Sync + 'static) {
    let behaviour = move |authority: &Authority, asked: &bridge::Asked, number| match number {
        0 => created(&answer(authority, &asked.id, &asked.body)),
        _ => created(&authority.answer(&asked.id, &asked.body)),
    };
    let bridge = Bridge::start(Authority::new(), behaviour).await;
    let device = TestDevice::new();
    let before = device.files();

    let error = enroll(&bridge.settings(), &device.identity).await.unwrap_err();

    assert!(matches!(error, EnrollError::BadAnswer(_)), "{reason}: {error:?}");
    assert!(error.to_string().contains(reason), "{error} instead of {reason}");
    assert_eq!(device.files(), before, "{reason}");
    enroll(&bridge.settings(), &device.identity).await.unwrap();
}
