//! Logs in without a browser: the client's half of authorization code with PKCE, form included.
//!
//! For programs that own the issuer and the password, such as `quickstart -- --check` and tests. It fills in
//! this issuer's form and Keycloak's.

mod form;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{COOKIE, LOCATION};
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use self::form::LoginForm;
use crate::random::unguessable;
use crate::signing::base64url;

/// Who logs in, and where to.
#[derive(Debug, Clone)]
pub struct Login<'login> {
    /// The issuer's name.
    pub issuer: &'login Url,
    /// The client that the person logs in to.
    pub client_id: &'login str,
    /// A registered address of the client. Nothing has to listen there: the code is read off the redirect.
    pub redirect_uri: &'login str,
    /// The person.
    pub username: &'login str,
    /// Their password.
    pub password: &'login SecretString,
}

/// What a login is worth.
#[derive(Debug, Clone, Deserialize)]
pub struct Tokens {
    /// Opens the services until it expires.
    pub access_token: SecretString,
    /// Buys the next tokens, once.
    pub refresh_token: SecretString,
    /// Tells the client who logged in.
    pub id_token: SecretString,
    /// How long the access token lives, in seconds.
    pub expires_in: u64,
}

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Try again.
    #[error("the issuer did not answer")]
    Unavailable(#[from] reqwest::Error),
    /// Use another password, or wait.
    #[error("the issuer refused user name and password with {0}")]
    WrongPassword(StatusCode),
    /// Log in anew: the code or the refresh token is worth nothing.
    #[error("the issuer refused the grant")]
    Refused,
    /// It is no issuer of ours, or not behaving as one.
    #[error("the issuer answered out of turn: {0}")]
    Unexpected(&'static str),
}

#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
}

/// Walks the whole flow: discovery, login form, redirect, code for tokens. `http` is to follow no redirect.
pub async fn login(http: &Client, login: &Login<'_>) -> Result<Tokens, LoginError> {
    let discovery = discover(http, login.issuer).await?;
    let (verifier, state, nonce) = (unguessable(), unguessable(), unguessable());
    let mut page = Url::parse(&discovery.authorization_endpoint)
        .map_err(|_| LoginError::Unexpected("its login page has no address"))?;
    page.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", login.client_id),
        ("redirect_uri", login.redirect_uri),
        ("scope", "openid"),
        ("state", &state),
        ("nonce", &nonce),
        ("code_challenge", &challenge(&verifier)),
        ("code_challenge_method", "S256"),
    ]);
    let code = submit_form(http, page, login, &state).await?;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", login.client_id),
        ("redirect_uri", login.redirect_uri),
        ("code", &code),
        ("code_verifier", &verifier),
    ];
    let tokens = fetch_tokens(http, &discovery.token_endpoint, &form).await?;
    if id_token_nonce(&tokens).as_deref() == Some(&nonce) {
        Ok(tokens)
    } else {
        Err(LoginError::Unexpected("the ID token is of another login"))
    }
}

/// Buys new tokens with a refresh token, which is worth nothing afterwards.
pub async fn refresh(
    http: &Client,
    issuer: &Url,
    client_id: &str,
    refresh_token: &SecretString,
) -> Result<Tokens, LoginError> {
    let discovery = discover(http, issuer).await?;
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", client_id),
        ("refresh_token", refresh_token.expose_secret()),
    ];
    fetch_tokens(http, &discovery.token_endpoint, &form).await
}

async fn discover(http: &Client, issuer: &Url) -> Result<Discovery, LoginError> {
    let url = format!("{issuer}/.well-known/openid-configuration");
    let discovery: Discovery = http.get(url).send().await?.error_for_status()?.json().await?;
    if discovery.issuer == issuer.as_str() {
        Ok(discovery)
    } else {
        Err(LoginError::Unexpected("the discovery document is another issuer's"))
    }
}

/// Opens the login page, fills its form in, and reads the code off the redirect.
async fn submit_form(http: &Client, page: Url, login: &Login<'_>, state: &str) -> Result<String, LoginError> {
    let shown = http.get(page.clone()).send().await?;
    if shown.status() != StatusCode::OK {
        return Err(LoginError::Unexpected("there is no login form"));
    }
    let form = LoginForm::read(&page, shown).await?;
    let fields = [
        ("username", login.username),
        ("password", login.password.expose_secret()),
    ];
    let request = http.post(form.action).header(COOKIE, form.cookies);
    let answer = request.form(&fields).send().await?;
    if answer.status().is_redirection() {
        code(&answer, login, state)
    } else {
        Err(LoginError::WrongPassword(answer.status()))
    }
}

fn code(answer: &Response, login: &Login<'_>, state: &str) -> Result<String, LoginError> {
    let location = answer
        .headers()
        .get(LOCATION)
        .and_then(|location| location.to_str().ok());
    let location = location.filter(|location| location.starts_with(login.redirect_uri));
    let address = location.and_then(|location| Url::parse(location).ok());
    let address = address.ok_or(LoginError::Unexpected("it redirects elsewhere"))?;
    let parameter = |wanted: &str| {
        address
            .query_pairs()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
    };
    if parameter("state").as_deref() != Some(state) || parameter("iss").as_deref() != Some(login.issuer.as_str()) {
        return Err(LoginError::Unexpected("it answers another request"));
    }
    parameter("code").ok_or(LoginError::Refused)
}

async fn fetch_tokens(http: &Client, endpoint: &str, form: &[(&str, &str)]) -> Result<Tokens, LoginError> {
    let answer = http.post(endpoint).form(form).send().await?;
    if answer.status() == StatusCode::BAD_REQUEST {
        return Err(LoginError::Refused);
    }
    Ok(answer.error_for_status()?.json().await?)
}

/// The challenge of a verifier (RFC 7636 §4.2).
fn challenge(verifier: &str) -> String {
    base64url(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

/// Reads the nonce of the ID token, which came straight from the issuer (OpenID Connect Core §3.1.3.7).
fn id_token_nonce(tokens: &Tokens) -> Option<String> {
    let claims = tokens.id_token.expose_secret().split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some(claims.get("nonce")?.as_str()?.to_owned())
}
