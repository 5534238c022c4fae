use std::time::Duration;

use oidc_issuer::client::LoginError;
use reqwest::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, ORIGIN};
use reqwest::{Method, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::world::{PASSWORD, REDIRECT_URI, VERIFIER, WEB_ORIGIN, World, location, parameter};

#[tokio::test]
async fn a_code_buys_tokens_once_and_a_second_try_takes_them_back() {
    let world = World::start().await;
    let code = world.code().await;

    let tokens = world.redeem(&code, &[]).await;
    assert_eq!(tokens.status(), StatusCode::OK);
    assert_eq!(tokens.headers()[CACHE_CONTROL], "no-store");
    let tokens: Value = tokens.json().await.unwrap();
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"]),
        (&json!("Bearer"), &json!(300))
    );

    assert_refused(world.redeem(&code, &[]).await, "invalid_grant").await;
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", "terminal-ui"),
        ("refresh_token", refresh_token),
    ];
    assert_refused(world.post(world.endpoint("token"), &form).await, "invalid_grant").await;
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_its_verifier_client_address_and_minute() {
    let world = World::start().await;
    let other_verifier = VERIFIER.replacen('d', "e", 1);
    let cases = [
        ("code_verifier", other_verifier.as_str(), "invalid_grant"),
        ("code_verifier", "", "invalid_request"),
        ("client_id", "other-ui", "invalid_grant"),
        ("client_id", "nobody", "invalid_client"),
        ("redirect_uri", "http://127.0.0.1:8888/ui/", "invalid_grant"),
        ("grant_type", "password", "unsupported_grant_type"),
        ("grant_type", "", "invalid_request"),
    ];
    for (name, value, error) in cases {
        let code = world.code().await;
        assert_refused(world.redeem(&code, &[(name, value)]).await, error).await;
    }
    let code = world.code().await;
    world.clock.advance(Duration::from_mins(1));
    assert_refused(world.redeem(&code, &[]).await, "invalid_grant").await;
}

#[tokio::test]
async fn refresh_tokens_rotate_and_reuse_ends_the_session() {
    let world = World::start().await;
    let first = world.log_in("olga", PASSWORD).await.unwrap();

    let second = world.refresh(&first).await.unwrap();
    assert_ne!(
        first.refresh_token.expose_secret(),
        second.refresh_token.expose_secret()
    );
    assert_ne!(first.access_token.expose_secret(), second.access_token.expose_secret());

    assert!(matches!(world.refresh(&first).await, Err(LoginError::Refused)));
    assert!(matches!(world.refresh(&second).await, Err(LoginError::Refused)));
}

#[tokio::test]
async fn a_disabled_person_has_no_session_and_gets_no_new_one() {
    let world = World::start().await;
    let tokens = world.log_in("olga", PASSWORD).await.unwrap();

    world.issuer.disable_user("olga");

    assert!(matches!(world.refresh(&tokens).await, Err(LoginError::Refused)));
    let refused = world.log_in("olga", PASSWORD).await;
    assert!(matches!(refused, Err(LoginError::WrongPassword(StatusCode::FORBIDDEN))));
}

#[tokio::test]
async fn logging_out_by_refresh_token_ends_the_session() {
    let world = World::start().await;
    let tokens = world.log_in("olga", PASSWORD).await.unwrap();

    let form = [
        ("client_id", "terminal-ui"),
        ("refresh_token", tokens.refresh_token.expose_secret()),
    ];
    let answer = world.post(world.endpoint("logout"), &form).await;

    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    assert!(matches!(world.refresh(&tokens).await, Err(LoginError::Refused)));
}

#[tokio::test]
async fn logging_out_by_link_ends_the_session_and_leads_to_registered_addresses_only() {
    let world = World::start().await;
    let tokens = world.log_in("olga", PASSWORD).await.unwrap();
    let link = |hint: &str, back: &str| {
        let mut link = world.endpoint("logout");
        let parameters = [
            ("id_token_hint", hint),
            ("post_logout_redirect_uri", back),
            ("state", "s2"),
        ];
        link.query_pairs_mut().extend_pairs(parameters);
        link
    };

    let by_access_token = world.get(link(tokens.access_token.expose_secret(), REDIRECT_URI)).await;
    assert_eq!(by_access_token.status(), StatusCode::BAD_REQUEST);
    let tokens = world.refresh(&tokens).await.unwrap();

    let elsewhere = world
        .get(link(tokens.id_token.expose_secret(), "http://evil.example/"))
        .await;
    assert_eq!(elsewhere.status(), StatusCode::BAD_REQUEST);

    let back = location(&world.get(link(tokens.id_token.expose_secret(), REDIRECT_URI)).await);
    assert!(back.as_str().starts_with(REDIRECT_URI), "{back}");
    assert_eq!(parameter(&back, "state").as_deref(), Some("s2"));
    assert!(matches!(world.refresh(&tokens).await, Err(LoginError::Refused)));
}

#[tokio::test]
async fn tokens_go_to_the_pages_of_their_own_client_only() {
    let world = World::start().await;
    let ask = |method: Method, origin: &str| {
        world
            .http
            .request(method, world.endpoint("token"))
            .header(ORIGIN, origin)
    };

    let preflight = ask(Method::OPTIONS, WEB_ORIGIN).send().await.unwrap();
    assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
    assert_eq!(preflight.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], WEB_ORIGIN);
    for foreign in ["http://evil.example", "null", "http://127.0.0.1:8888.evil.example"] {
        let preflight = ask(Method::OPTIONS, foreign).send().await.unwrap();
        assert!(
            !preflight.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN),
            "{foreign}"
        );
    }

    let code = world.code().await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "terminal-ui"),
        ("redirect_uri", REDIRECT_URI),
        ("code", &code),
        ("code_verifier", VERIFIER),
    ];
    for foreign in ["http://other.example", "http://evil.example", "null"] {
        let refused = ask(Method::POST, foreign).form(&form).send().await.unwrap();
        assert_refused(refused, "invalid_client").await;
    }
    let given = ask(Method::POST, WEB_ORIGIN).form(&form).send().await.unwrap();
    assert_eq!(given.status(), StatusCode::OK);
    assert_eq!(given.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], WEB_ORIGIN);
}

async fn assert_refused(answer: Response, error: &str) {
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{error}");
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"error": error}));
}
