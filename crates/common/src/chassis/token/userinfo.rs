use std::collections::BTreeSet;

use axum::body::Bytes;
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use super::claims::{RealmAccess, fleets, strongest_role};
use super::discovery::{Discovery, EndpointLocation, NotDiscovered};
use super::{RoleNames, TokenVerifier};
use crate::chassis::http_client::read_limited;
use crate::chassis::json;
use crate::domain::{GroupName, Role};

/// Asks the issuer who a person is now (OpenID Connect Core §5.3). A token tells who somebody was when it was made; a
/// person who was disabled, or lost a role or a group, shows here at once.
///
/// The answer has to carry `realm_access.roles` and `groups` as access tokens do. What it does not carry, the person
/// does not have.
#[derive(Debug)]
pub struct Userinfo {
    location: EndpointLocation,
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

impl Userinfo {
    /// The largest document that is read, in bytes.
    const MAX_BODY_LENGTH: usize = 64 * 1024;

    /// Builds it; nothing is asked yet. `http` is to follow no redirect.
    pub fn new(location: EndpointLocation, roles: RoleNames, http: reqwest::Client) -> Self {
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
            EndpointLocation::Url(url) => url,
            EndpointLocation::Discovery { issuer } => self.discovered.get_or_try_init(|| self.discover(issuer)).await?,
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
        let discovery = Discovery::of(issuer)?;
        let document = self.fetch(self.http.get(discovery.address())).await?;
        Ok(discovery.endpoint(&document, "userinfo_endpoint")?)
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

impl From<NotDiscovered> for UserinfoError {
    fn from(reason: NotDiscovered) -> Self {
        unavailable(reason)
    }
}

fn unavailable(what: impl std::fmt::Display) -> UserinfoError {
    UserinfoError::Unavailable(what.to_string())
}
