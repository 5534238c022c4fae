use std::collections::BTreeSet;

use axum::body::Bytes;
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use super::claims::{RealmAccess, fleets, strongest_role};
use super::{RoleNames, TokenVerifier};
use crate::chassis::http_client::read_limited;
use crate::chassis::json;
use crate::domain::{GroupName, Role};

/// Where the issuer says who a person is now.
#[derive(Debug, Clone)]
pub enum UserinfoLocation {
    /// At this address; it may be an internal one that has nothing to do with the issuer's name.
    Url(Url),
    /// Where the issuer's own discovery document says (OpenID Connect Discovery §4), asked once.
    Discovery {
        /// The issuer's name, to which the document has to agree byte by byte.
        issuer: String,
    },
}

/// Asks the issuer who a person is now (OpenID Connect Core §5.3). A token tells who somebody was when it was made; a
/// person who was disabled, or lost a role or a group, shows here at once.
///
/// The answer has to carry `realm_access.roles` and `groups` as access tokens do. What it does not carry, the person
/// does not have.
#[derive(Debug)]
pub struct Userinfo {
    location: UserinfoLocation,
    roles: RoleNames,
    http: reqwest::Client,
    discovered: OnceCell<Url>,
}

/// Who the issuer says somebody is at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonNow {
    /// The issuer's stable name of the person (`sub`).
    pub subject: String,
    /// Their strongest role; none when they have none of ours.
    pub role: Option<Role>,
    /// Their fleets.
    pub groups: BTreeSet<GroupName>,
}

/// Why the issuer does not say.
#[derive(Debug, thiserror::Error)]
pub enum UserinfoError {
    /// The person is disabled or logged out, or the token has ended or may not ask.
    #[error("the issuer does not know the holder of the token any more ({0})")]
    Refused(StatusCode),
    /// It did not answer, or in a way that says nothing about the person.
    #[error("the issuer does not say who a person is: {0}")]
    Unavailable(String),
}

#[derive(Debug, Deserialize)]
struct Answer {
    sub: String,
    #[serde(default)]
    realm_access: RealmAccess,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
    userinfo_endpoint: String,
}

impl Userinfo {
    /// The largest document that is read, in bytes.
    const MAX_BODY_LENGTH: usize = 64 * 1024;

    /// Builds it; nothing is asked yet. `http` is to follow no redirect.
    pub fn new(location: UserinfoLocation, roles: RoleNames, http: reqwest::Client) -> Self {
        Self {
            location,
            roles,
            http,
            discovered: OnceCell::new(),
        }
    }

    /// Asks about the holder of a token.
    pub async fn ask(&self, token: &SecretString) -> Result<PersonNow, UserinfoError> {
        let url = match &self.location {
            UserinfoLocation::Url(url) => url,
            UserinfoLocation::Discovery { issuer } => self.discovered.get_or_try_init(|| self.discover(issuer)).await?,
        };
        let request = self.http.get(url.clone()).bearer_auth(token.expose_secret());
        let body = self.fetch(request).await?;
        let answer: Answer = json::parse(&body).map_err(|_| unavailable("its answer is no userinfo document"))?;
        if answer.sub.is_empty() || answer.sub.len() > TokenVerifier::MAX_TOKEN_LENGTH {
            return Err(unavailable("its answer names nobody"));
        }
        Ok(PersonNow {
            role: strongest_role(&answer.realm_access.roles, &self.roles),
            groups: fleets(&answer.groups),
            subject: answer.sub,
        })
    }

    async fn discover(&self, issuer: &str) -> Result<Url, UserinfoError> {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url: Url = url.parse().map_err(|_| unavailable("its name is no address"))?;
        let document = self.fetch(self.http.get(url.clone())).await?;
        let document: Discovery = serde_json::from_slice(&document)
            .map_err(|_| unavailable("its discovery document names no userinfo endpoint"))?;
        let endpoint: Url = document
            .userinfo_endpoint
            .parse()
            .map_err(|_| unavailable("its userinfo endpoint is no address"))?;
        // A token for an https issuer does not leave in the clear.
        if document.issuer != issuer || endpoint.scheme() != url.scheme() {
            return Err(unavailable("its discovery document is about another issuer"));
        }
        Ok(endpoint)
    }

    async fn fetch(&self, request: reqwest::RequestBuilder) -> Result<Bytes, UserinfoError> {
        let answer = request.send().await.map_err(|error| unavailable(error.without_url()))?;
        match answer.status() {
            StatusCode::OK => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => return Err(UserinfoError::Refused(status)),
            status => return Err(unavailable(format_args!("it answered {status}"))),
        }
        read_limited(answer, Self::MAX_BODY_LENGTH).await.map_err(unavailable)
    }
}

fn unavailable(what: impl std::fmt::Display) -> UserinfoError {
    UserinfoError::Unavailable(what.to_string())
}
