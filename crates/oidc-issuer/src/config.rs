use std::time::Duration;

use secrecy::SecretString;
use url::Url;

/// What an issuer is told when it starts.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// The issuer's name and address, `http(s)://host:port/realms/{realm}` as Keycloak's.
    pub issuer_url: Url,
    /// The applications that people may log in to.
    pub clients: Vec<ClientConfig>,
    /// The people.
    pub users: Vec<UserConfig>,
    /// How long an access token lives; see [`IssuerConfig::DEFAULT_ACCESS_TOKEN_LIFETIME`].
    pub access_token_lifetime: Duration,
}

impl IssuerConfig {
    /// Keycloak's default, 5 minutes.
    pub const DEFAULT_ACCESS_TOKEN_LIFETIME: Duration = Duration::from_mins(5);
}

/// A public client (RFC 6749 §2.1): an application that can keep no secret, such as a web page.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Its name, the `azp` of its tokens.
    pub client_id: String,
    /// Where answers may be sent, compared byte by byte (RFC 9700 §4.1.3).
    pub redirect_uris: Vec<Url>,
    /// Whom its access tokens are for, the `aud` of its tokens.
    pub audiences: Vec<String>,
    /// The origins whose pages may fetch its tokens, such as `http://127.0.0.1:8888`.
    pub web_origins: Vec<String>,
}

/// A person.
#[derive(Debug, Clone)]
pub struct UserConfig {
    /// What they type to log in.
    pub username: String,
    /// What only they know.
    pub password: SecretString,
    /// Their realm roles, such as `fleet-operator`.
    pub roles: Vec<String>,
    /// Their groups as full paths, such as `/fleets/demo`.
    pub groups: Vec<String>,
    /// Their stable name, the `sub` of their tokens.
    pub subject: String,
}

/// The issuer cannot work as it was configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuerConfig {
    /// Its paths hang below its name, which has to look like Keycloak's.
    #[error("the issuer's address must be http(s)://host/realms/{{realm}} without query and fragment")]
    IssuerUrl,
    /// Answers are sent over HTTP, and a fragment would swallow the code (RFC 6749 §3.1.2).
    #[error("a redirect address must be http or https and must not have a fragment")]
    RedirectUri,
}

impl IssuerConfig {
    pub(crate) fn check(&self) -> Result<(), InvalidIssuerConfig> {
        let url = &self.issuer_url;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let realm = url.path().strip_prefix("/realms/").unwrap_or_default();
        let is_realm = !realm.is_empty() && realm.bytes().all(plain);
        if !is_web_address(url) || !is_realm || url.query().is_some() {
            return Err(InvalidIssuerConfig::IssuerUrl);
        }
        let mut redirect_uris = self.clients.iter().flat_map(|client| &client.redirect_uris);
        if redirect_uris.all(is_web_address) {
            Ok(())
        } else {
            Err(InvalidIssuerConfig::RedirectUri)
        }
    }

    pub(crate) fn client(&self, client_id: &str) -> Option<&ClientConfig> {
        self.clients.iter().find(|client| client.client_id == client_id)
    }

    pub(crate) fn user(&self, username: &str) -> Option<&UserConfig> {
        self.users.iter().find(|user| user.username == username)
    }
}

impl ClientConfig {
    /// Finds the registered address that is exactly this one.
    pub(crate) fn redirect_uri(&self, text: &str) -> Option<&Url> {
        self.redirect_uris.iter().find(|uri| uri.as_str() == text)
    }

    pub(crate) fn has_web_origin(&self, origin: &str) -> bool {
        self.web_origins.iter().any(|known| known == origin)
    }
}

fn is_web_address(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host() && url.fragment().is_none()
}
