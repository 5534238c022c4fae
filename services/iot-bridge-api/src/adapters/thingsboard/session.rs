//! Who we are at ThingsBoard: an API key, or a login that is kept alive.

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::super::rest::{Answer, Rest};
use crate::ports::{BoxedError, UpstreamError};

/// ThingsBoard's own header; `Authorization` would be the proxy's in front of it.
const HEADER: &str = "X-Authorization";

/// How to log in.
#[derive(Debug)]
pub enum ThingsBoardLogin {
    /// An API key (ThingsBoard 4.3 or later).
    ApiKey(SecretString),
    /// A tenant administrator's name and password.
    Password {
        /// The name, an e-mail address.
        user: String,
        /// The password.
        password: SecretString,
    },
}

#[derive(Debug)]
pub(super) struct Session {
    rest: Rest,
    login: ThingsBoardLogin,
    tokens: Mutex<Option<Tokens>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Tokens {
    #[serde(deserialize_with = "secret")]
    token: SecretString,
    #[serde(rename = "refreshToken", deserialize_with = "secret")]
    refresh_token: SecretString,
}

impl Session {
    pub(super) fn new(rest: Rest, login: ThingsBoardLogin) -> Self {
        Self {
            rest,
            login,
            tokens: Mutex::default(),
        }
    }

    /// Calls a method; a token that is not believed any more is renewed once.
    pub(super) async fn call(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, UpstreamError> {
        let request = |credential: &str| {
            let url = self.rest.url(segments);
            let request = self.rest.client().request(method.clone(), url).query(query);
            let request = request.header(HEADER, credential);
            match body {
                Some(body) => request.json(body),
                None => request,
            }
        };
        let ThingsBoardLogin::Password { user, password } = &self.login else {
            return self.rest.send(request(&self.api_key())).await;
        };
        let tokens = self.tokens(user, password, None).await?;
        let answer = self.rest.send(request(&bearer(&tokens))).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let tokens = self.tokens(user, password, Some(&tokens)).await?;
        self.rest.send(request(&bearer(&tokens))).await
    }

    /// Whether name and password are believed; an API key is not asked about.
    pub(super) async fn is_believed(&self) -> Result<bool, UpstreamError> {
        let ThingsBoardLogin::Password { user, password } = &self.login else {
            return Ok(true);
        };
        let body = json!({ "username": user, "password": password.expose_secret() });
        let answer = self.post(&["api", "auth", "login"], &body).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Ok(false),
            _ => answer.done().map(|()| true),
        }
    }

    pub(super) fn unavailable(&self, error: impl Into<BoxedError>) -> UpstreamError {
        self.rest.unavailable(error)
    }

    fn api_key(&self) -> String {
        match &self.login {
            ThingsBoardLogin::ApiKey(key) => format!("ApiKey {}", key.expose_secret()),
            ThingsBoardLogin::Password { .. } => String::new(),
        }
    }

    /// Returns tokens other than the `refused` ones: what another call has renewed meanwhile, or a refresh, or a
    /// new login.
    async fn tokens(
        &self,
        user: &str,
        password: &SecretString,
        refused: Option<&Tokens>,
    ) -> Result<Tokens, UpstreamError> {
        let mut held = self.tokens.lock().await;
        if let Some(tokens) = held.as_ref().filter(|tokens| !is_same(tokens, refused)) {
            return Ok(tokens.clone());
        }
        let refreshed = match held.take() {
            Some(old) => self.refresh(&old).await?,
            None => None,
        };
        let fresh = match refreshed {
            Some(tokens) => tokens,
            None => self.log_in(user, password).await?,
        };
        *held = Some(fresh.clone());
        Ok(fresh)
    }

    /// None when the refresh token has ended too.
    async fn refresh(&self, old: &Tokens) -> Result<Option<Tokens>, UpstreamError> {
        let body = json!({ "refreshToken": old.refresh_token.expose_secret() });
        let answer = self.post(&["api", "auth", "token"], &body).await?;
        if answer.status == StatusCode::OK {
            answer.json(StatusCode::OK).map(Some)
        } else {
            Ok(None)
        }
    }

    async fn log_in(&self, user: &str, password: &SecretString) -> Result<Tokens, UpstreamError> {
        let body = json!({ "username": user, "password": password.expose_secret() });
        self.post(&["api", "auth", "login"], &body).await?.json(StatusCode::OK)
    }

    async fn post(&self, segments: &[&str], body: &Value) -> Result<Answer, UpstreamError> {
        let request = self.rest.client().post(self.rest.url(segments)).json(body);
        self.rest.send(request).await
    }
}

fn bearer(tokens: &Tokens) -> String {
    format!("Bearer {}", tokens.token.expose_secret())
}

fn is_same(tokens: &Tokens, refused: Option<&Tokens>) -> bool {
    refused.is_some_and(|refused| refused.token.expose_secret() == tokens.token.expose_secret())
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}
