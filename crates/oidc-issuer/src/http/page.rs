//! The pages that people see: plain HTML, no script, no outside resource.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::guesses::Guesses;
use crate::issuer::LoginRefusal;

const STYLE: &str = include_str!("page/style.css");

/// Lets the page's own style in and nothing else (Content Security Policy Level 3).
static STYLE_SOURCE: LazyLock<String> = LazyLock::new(|| {
    let hash = digest::digest(&digest::SHA256, STYLE.as_bytes());
    format!("'sha256-{}'", STANDARD.encode(hash))
});

/// The login form; it is sent to the address of the page, with its query.
pub(super) fn login(client_id: &str, redirect_uri: &Url, refusal: Option<LoginRefusal>) -> Response {
    let (status, message) = match refusal {
        None => (StatusCode::OK, ""),
        Some(LoginRefusal::WrongCredentials) => (StatusCode::FORBIDDEN, "Wrong user name or password."),
        Some(LoginRefusal::TooManyGuesses) => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many wrong passwords. Try again in a minute.",
        ),
        Some(LoginRefusal::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "Try again in a minute."),
    };
    let alert = if message.is_empty() {
        String::new()
    } else {
        format!(r#"<p role="alert">{message}</p>"#)
    };
    let body = format!(
        r#"<h1>Sign in</h1>
<p>to continue to <strong>{client}</strong></p>
{alert}
<form method="post">
<label for="username">User name</label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">Sign in</button>
</form>"#,
        client = escaped(client_id),
    );
    // Chromium also checks where the form's answer redirects to.
    let form_action = format!("'self' {}", redirect_uri.origin().ascii_serialization());
    let mut response = page(status, "Sign in", &body, &form_action);
    if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(Guesses::PAUSE.as_secs()));
    }
    response
}

/// Says why the person can go no further, and sends them nowhere.
pub(super) fn error(message: &str) -> Response {
    let body = format!(
        "<h1>This link does not work</h1>\n<p role=\"alert\">{}</p>",
        escaped(message)
    );
    page(StatusCode::BAD_REQUEST, "This link does not work", &body, "'none'")
}

/// Says that the person is signed out.
pub(super) fn signed_out() -> Response {
    page(StatusCode::OK, "Signed out", "<h1>You are signed out</h1>", "'none'")
}

fn page(status: StatusCode, title: &str, body: &str, form_action: &str) -> Response {
    let html = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"#
    );
    let policy = format!(
        "default-src 'none'; style-src {}; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'",
        *STYLE_SOURCE
    );
    let policy = HeaderValue::try_from(policy).expect("hash and origin are visible ASCII");
    let headers: [(HeaderName, HeaderValue); 3] = [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        // The page's address holds the client's `state`.
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (status, headers, Html(html)).into_response()
}

/// Writes text so that HTML reads it as text, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            plain => html.push(plain),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_write_html() {
        assert_eq!(escaped(r#"<a b="c">'&"#), "&lt;a b=&quot;c&quot;&gt;&#39;&amp;");
    }

    #[test]
    fn the_form_may_answer_to_the_clients_origin_only() {
        let redirect_uri = "http://127.0.0.1:8888/ui/callback".parse().unwrap();

        let response = login("ui", &redirect_uri, None);

        let policy = response
            .headers()
            .get(CONTENT_SECURITY_POLICY)
            .unwrap()
            .to_str()
            .unwrap();
        assert!(policy.contains("form-action 'self' http://127.0.0.1:8888;"), "{policy}");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    }
}
