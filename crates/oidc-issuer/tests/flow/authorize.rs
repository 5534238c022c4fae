use std::time::Duration;

use oidc_issuer::client::LoginError;
use reqwest::StatusCode;
use reqwest::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, RETRY_AFTER,
};

use crate::world::{PASSWORD, REDIRECT_URI, World, location, parameter};

#[tokio::test]
async fn the_login_page_is_a_plain_form_that_nothing_can_be_added_to() {
    let world = World::start().await;

    let page = world.get(world.login_page(&[])).await;

    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert!(policy.contains("form-action 'self' http://127.0.0.1:8888;"), "{policy}");
    assert_eq!(page.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(page.headers()[REFERRER_POLICY], "no-referrer");
    let html = page.text().await.unwrap();
    assert!(
        html.contains(r#"<label for="password">"#) && !html.contains("<script"),
        "{html}"
    );
}

#[tokio::test]
async fn the_right_password_leads_back_with_code_state_and_issuer() {
    let world = World::start().await;

    let answer = world
        .post(world.login_page(&[]), &[("username", "olga"), ("password", PASSWORD)])
        .await;

    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let back = location(&answer);
    assert!(back.as_str().starts_with(REDIRECT_URI), "{back}");
    assert!(parameter(&back, "code").is_some_and(|code| code.len() == 43));
    assert_eq!(parameter(&back, "state").as_deref(), Some("s1"));
    assert_eq!(parameter(&back, "iss").as_deref(), Some(world.issuer.url().as_str()));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_get_the_same_page() {
    let world = World::start().await;

    let wrong = world
        .post(world.login_page(&[]), &[("username", "olga"), ("password", "guess")])
        .await;
    let unknown = world
        .post(world.login_page(&[]), &[("username", "nobody"), ("password", PASSWORD)])
        .await;

    assert_eq!(
        (wrong.status(), unknown.status()),
        (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN)
    );
    assert!(!wrong.headers().contains_key(LOCATION));
    assert_eq!(wrong.text().await.unwrap(), unknown.text().await.unwrap());
}

#[tokio::test]
async fn after_five_wrong_passwords_even_the_right_one_waits_a_minute() {
    let world = World::start().await;
    for _ in 0..5 {
        let refused = world.log_in("olga", "guess").await.unwrap_err();
        assert!(
            matches!(refused, LoginError::WrongPassword(StatusCode::FORBIDDEN)),
            "{refused:?}"
        );
    }

    let form = [("username", "olga"), ("password", PASSWORD)];
    let paused = world.post(world.login_page(&[]), &form).await;
    assert_eq!(paused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(paused.headers()[RETRY_AFTER], "60");

    world.clock.advance(Duration::from_mins(1));
    assert!(world.log_in("olga", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn a_request_of_nobody_we_know_ends_on_an_error_page_and_redirects_nowhere() {
    let world = World::start().await;
    let near_misses = [
        "http://evil.example/",
        "http://127.0.0.1:8888/ui/callback/",
        "http://127.0.0.1:8888/ui/callback?x=1",
        "http://127.0.0.1:8888/ui/../ui/callback",
        "http://127.0.0.1:8889/ui/callback",
        "HTTP://127.0.0.1:8888/ui/callback",
        "javascript:alert(1)",
        "",
    ];
    let mut pages: Vec<_> = near_misses.map(|uri| world.login_page(&[("redirect_uri", uri)])).into();
    pages.push(world.login_page(&[("client_id", "<b>nobody</b>")]));
    pages.push(world.login_page(&[("state", "a"), ("state", "b")]));
    for page in pages {
        for answer in [
            world.get(page.clone()).await,
            world.post(page.clone(), &[("username", "olga")]).await,
        ] {
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{page}");
            assert!(!answer.headers().contains_key(LOCATION), "{page}");
            assert!(!answer.text().await.unwrap().contains("<b>"), "{page}");
        }
    }
}

#[tokio::test]
async fn a_known_client_is_told_what_is_wrong_with_its_request() {
    let world = World::start().await;
    let long = "x".repeat(1025);
    let cases = [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("scope", "profile", "invalid_scope"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("nonce", &long, "invalid_request"),
        ("prompt", "none", "login_required"),
        ("request", "eyJ", "request_not_supported"),
        ("request_uri", "http://evil.example/", "request_uri_not_supported"),
    ];
    for (name, value, error) in cases {
        let answer = world.get(world.login_page(&[(name, value)])).await;

        let back = location(&answer);
        assert!(back.as_str().starts_with(REDIRECT_URI), "{back}");
        assert_eq!(parameter(&back, "error").as_deref(), Some(error), "{name}={value}");
        assert_eq!(parameter(&back, "state").as_deref(), Some("s1"));
    }
}

#[tokio::test]
async fn the_login_form_is_read_only_as_a_form_and_never_by_other_pages() {
    let world = World::start().await;
    let page = world.login_page(&[]);

    let json = world.http.post(page.clone()).json(&["olga"]).send().await.unwrap();
    assert_eq!(json.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let huge = "x".repeat(17 * 1024);
    let too_large = world.post(page.clone(), &[("username", &huge)]).await;
    assert_eq!(too_large.status(), StatusCode::PAYLOAD_TOO_LARGE);

    let from_page = world
        .http
        .get(page)
        .header("origin", "http://127.0.0.1:8888")
        .send()
        .await
        .unwrap();
    assert!(!from_page.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
}
