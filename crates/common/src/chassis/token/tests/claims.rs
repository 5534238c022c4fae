use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::forge::{ISSUER, NOW, good_claims, good_header, set, token_of_text, verify, verify_claims};
use crate::chassis::token::TokenError;
use crate::domain::{GroupName, Operator, Role, Timestamp};

const TYPE: &str = "a claim is missing or malformed";
const NAME: &str = "subject or user name is empty, too long or unprintable";

/// A row of the table of bad inputs: its name, the claim of a good token that it changes, the claim's new
/// value (null takes it away), and the reason that goes to the log.
type Row = (&'static str, &'static str, Value, &'static str);

fn bad_times() -> Vec<Row> {
    vec![
        ("B-128", "exp", Value::Null, TYPE),
        ("B-128", "exp", json!(NOW - 30), "expired"),
        ("B-128", "exp", json!(0), "expired"),
        ("B-128", "exp", json!(-1), "expired"),
        ("B-128", "exp", json!(1_800_000_290.5), TYPE),
        ("B-128", "exp", json!("1800000290"), TYPE),
        ("B-128", "exp", json!(1e308), TYPE),
        ("B-128", "exp", json!(i64::MAX), "time out of range"),
        ("B-128", "exp", json!(NOW + 291), "lives too long"),
        ("B-128", "iat", Value::Null, TYPE),
        ("B-128", "iat", json!(NOW + 31), "issued in the future"),
        ("B-128", "iat", json!(NOW - 11), "lives too long"),
        ("B-128", "iat", json!(i64::MIN), "time out of range"),
        ("B-128", "iat", json!("now"), TYPE),
        ("B-128", "nbf", json!(NOW + 31), "not valid yet"),
        ("B-128", "nbf", json!("later"), TYPE),
    ]
}

fn bad_parties_and_persons() -> Vec<Row> {
    vec![
        ("B-130", "iss", Value::Null, TYPE),
        ("B-130", "iss", json!(format!("{ISSUER}/")), "other issuer"),
        (
            "B-130",
            "iss",
            json!("https://login.example/realms/other"),
            "other issuer",
        ),
        (
            "B-130",
            "iss",
            json!("https://LOGIN.example/realms/fleet"),
            "other issuer",
        ),
        ("B-130", "iss", json!([ISSUER]), TYPE),
        ("B-131", "aud", Value::Null, TYPE),
        ("B-131", "aud", json!("iot-bridge-api"), "other audience"),
        ("B-131", "aud", json!("account"), "other audience"),
        ("B-131", "aud", json!(["account", "iot-bridge-api"]), "other audience"),
        ("B-131", "aud", json!([]), "other audience"),
        ("B-131", "aud", json!("terminal-proxy-2"), "other audience"),
        ("B-131", "aud", json!(5), TYPE),
        ("B-131", "aud", json!({"terminal-proxy": true}), TYPE),
        ("B-131", "aud", json!(["terminal-proxy", 5]), TYPE),
        ("B-132", "azp", Value::Null, TYPE),
        ("B-132", "azp", json!("grafana"), "client not allowed"),
        ("B-132", "azp", json!(""), "client not allowed"),
        ("B-132", "typ", Value::Null, TYPE),
        ("B-132", "typ", json!("ID"), "not an access token"),
        ("B-132", "typ", json!("Refresh"), "not an access token"),
        ("B-132", "typ", json!("Offline"), "not an access token"),
        (
            "B-132",
            "preferred_username",
            json!("service-account-iot-bridge"),
            "a client's own account",
        ),
        ("B-132", "preferred_username", Value::Null, TYPE),
        ("B-132", "preferred_username", json!(""), NAME),
        ("B-132", "preferred_username", json!("olga\u{1b}[2J"), NAME),
        ("B-132", "sub", Value::Null, TYPE),
        ("B-132", "sub", json!(""), NAME),
        ("B-132", "sub", json!("x".repeat(256)), NAME),
        ("B-132", "sub", json!("a\nb"), NAME),
        ("B-137", "realm_access", json!({"roles": "fleet-admin"}), TYPE),
        ("B-137", "groups", json!("/fleets/demo"), TYPE),
    ]
}

#[tokio::test]
async fn one_wrong_claim_makes_a_good_token_bad() {
    for (row, claim, value, reason) in [bad_times(), bad_parties_and_persons()].concat() {
        let verdict = verify_claims(|claims| set(claims, claim, value.clone())).await;

        assert_eq!(verdict, Err(TokenError::Invalid(reason)), "{row}: {claim} = {value}");
    }
}

#[tokio::test]
async fn b_128_a_number_that_no_machine_holds_is_refused() {
    let claims = good_claims().to_string().replace(&(NOW + 290).to_string(), "1e400");

    let verdict = verify(&token_of_text(&good_header().to_string(), &claims)).await;

    assert_eq!(verdict, Err(TokenError::Invalid(TYPE)));
}

#[tokio::test]
async fn times_are_forgiven_up_to_the_leeway_and_not_a_second_more() {
    let good = [
        ("exp", NOW - 29),
        ("exp", NOW + 290),
        ("nbf", NOW + 30),
        ("nbf", NOW - 1000),
    ];
    for (claim, value) in good {
        assert!(
            verify_claims(|claims| set(claims, claim, json!(value))).await.is_ok(),
            "{claim} = {value}"
        );
    }
    let issued_ahead = verify_claims(|claims| {
        set(claims, "iat", json!(NOW + 30));
        set(claims, "exp", json!(NOW + 330));
    });
    assert!(issued_ahead.await.is_ok());
}

#[tokio::test]
async fn an_audience_may_be_one_of_several() {
    let verdict = verify_claims(|claims| set(claims, "aud", json!(["account", "terminal-proxy"]))).await;

    assert!(verdict.is_ok());
}

#[tokio::test]
async fn b_137_a_good_token_without_a_role_of_ours_is_forbidden_not_invalid() {
    let none = [
        Value::Null,
        json!({}),
        json!({"roles": []}),
        json!({"roles": ["offline_access", "FLEET-ADMIN", "fleet-admin "]}),
    ];
    for roles in none {
        let verdict = verify_claims(|claims| set(claims, "realm_access", roles.clone())).await;

        assert_eq!(verdict, Err(TokenError::NoRole), "{roles}");
    }
}

#[tokio::test]
async fn a_good_token_names_the_person_their_fleets_and_its_end() {
    let operator = verify_claims(|_| ()).await.unwrap();

    let expected = Operator {
        subject: "f3b1".to_owned(),
        username: "olga".to_owned(),
        role: Role::Operator,
        groups: BTreeSet::from([GroupName::parse("demo").unwrap()]),
        expires_at: Timestamp::from_unix_timestamp(NOW + 290).unwrap(),
    };
    assert_eq!(operator, expected);
}

#[tokio::test]
async fn the_strongest_role_counts() {
    let cases = [
        (json!(["fleet-viewer"]), Role::Viewer),
        (json!(["fleet-viewer", "fleet-operator"]), Role::Operator),
        (json!(["fleet-viewer", "fleet-admin", "fleet-operator"]), Role::Admin),
    ];
    for (roles, expected) in cases {
        let operator = verify_claims(|claims| set(claims, "realm_access", json!({"roles": roles}))).await;

        assert_eq!(operator.map(|operator| operator.role), Ok(expected), "{roles}");
    }
}

#[tokio::test]
async fn groups_that_are_no_fleets_are_passed_over() {
    let groups = json!([
        "/fleets/north",
        "/fleets/north/",
        "/fleets/a/b",
        "fleets/x",
        "/Fleets/x",
        "/fleets/",
        "/fleets/X",
        "/staff",
        ""
    ]);

    let operator = verify_claims(|claims| set(claims, "groups", groups)).await.unwrap();

    assert_eq!(operator.groups, BTreeSet::from([GroupName::parse("north").unwrap()]));
}

#[tokio::test]
async fn a_token_without_groups_sees_no_fleet() {
    let operator = verify_claims(|claims| set(claims, "groups", Value::Null))
        .await
        .unwrap();

    assert_eq!(operator.groups, BTreeSet::new());
}
