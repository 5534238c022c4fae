//! Access tokens: which person the issuer vouches for, and for how long.
//!
//! [`TokenVerifier`] is the only door from a token to an [`Operator`]. Keys and signatures are
//! `jsonwebtoken`'s; header and claims are read here, because what such libraries check by default (a token
//! without `aud`, with a member twice, with a fractional `exp`, by the machine's clock) is not what a door
//! to a root shell needs.
//!
//! Sources: RFC 7515 (JWS), RFC 7517 (JWK), RFC 7519 (JWT), RFC 8725 (JWT best practices), RFC 9068
//! (JWT access tokens), and Keycloak's token shape (`typ: Bearer`, `azp`, `realm_access.roles`, `groups`).

mod answer;
mod bearer;
mod claims;
mod discovery;
mod header;
mod jwks_cache;
mod keys;
mod memory;
mod userinfo;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use self::answer::INVALID_TOKEN;
pub use self::bearer::{CredentialError, bearer};
use self::claims::Claims;
pub use self::discovery::EndpointLocation;
use self::header::Header;
pub use self::jwks_cache::{JwksCache, JwksSettings};
pub use self::keys::{Algorithm, FixedKeys, InvalidKeySet, KeySet, KeySource, KeysUnavailable, VerificationKey};
use self::memory::{KnownToken, TokenMemory};
pub use self::userinfo::{PersonNow, Userinfo, UserinfoError};
use crate::domain::{Clock, Digest, Operator};

/// What a token has to say to be believed.
#[derive(Debug, Clone)]
pub struct TokenRules {
    /// The issuer's name, compared byte by byte with `iss` (RFC 7519 §4.1.1); no trailing slash is forgiven.
    pub issuer: String,
    /// This service's name, which `aud` has to contain (RFC 7519 §4.1.3).
    pub audience: String,
    /// The clients (`azp`) whose tokens are welcome; at least one.
    pub authorized_parties: Vec<String>,
    /// What the roles are called at the issuer.
    pub roles: RoleNames,
    /// The longest `exp` − `iat` that is believed; see [`TokenRules::DEFAULT_MAX_LIFETIME`].
    pub max_lifetime: Duration,
    /// How far the issuer's clock may be off; at most [`TokenRules::MAX_LEEWAY`].
    pub leeway: Duration,
}

impl TokenRules {
    /// Keycloak's default lifetime of an access token, 5 minutes.
    pub const DEFAULT_MAX_LIFETIME: Duration = Duration::from_mins(5);
    /// The most leeway that can be asked for, 30 seconds.
    pub const MAX_LEEWAY: Duration = Duration::from_secs(30);
}

/// What each [`crate::domain::Role`] is called in `realm_access.roles`.
#[derive(Debug, Clone)]
pub struct RoleNames {
    /// The name of [`crate::domain::Role::Admin`].
    pub admin: String,
    /// The name of [`crate::domain::Role::Operator`].
    pub operator: String,
    /// The name of [`crate::domain::Role::Viewer`].
    pub viewer: String,
}

impl Default for RoleNames {
    fn default() -> Self {
        Self {
            admin: "fleet-admin".to_owned(),
            operator: "fleet-operator".to_owned(),
            viewer: "fleet-viewer".to_owned(),
        }
    }
}

/// The rules would let tokens in that nobody meant; the start has to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeTokenRules {
    /// An empty issuer or audience would be matched by an empty claim.
    #[error("the issuer and the audience of access tokens must not be empty")]
    EmptyName,
    /// Without a list of clients, any client of the realm could get a shell.
    #[error("at least one client must be named whose access tokens are accepted, and none may be empty")]
    NoAuthorizedParty,
    /// Two roles of one name would make the weaker one as strong as the other.
    #[error("the three role names must differ and must not be empty")]
    AmbiguousRoles,
    /// A long leeway keeps dead tokens alive.
    #[error("the leeway for the issuer's clock is at most 30 seconds")]
    TooMuchLeeway,
}

/// Why a token was not accepted, as the caller has to react.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The token is not to be believed: 401, the same answer for every reason.
    #[error("the access token is not valid")]
    Invalid(
        /// What was wrong, for the log only: an answer that names it helps whoever forges tokens.
        &'static str,
    ),
    /// The token is good, its owner has none of our roles: 403.
    #[error("the access token carries no role of this system")]
    NoRole,
    /// The issuer's keys are not at hand, so that nothing can be said about the token: 503.
    #[error("the issuer's keys are not available")]
    KeysUnavailable,
}

/// Turns a token into the person that it speaks for, or refuses it.
pub struct TokenVerifier {
    rules: TokenRules,
    keys: Arc<dyn KeySource>,
    clock: Arc<dyn Clock>,
    memory: TokenMemory,
}

impl TokenVerifier {
    /// Longest token that is looked at, in bytes.
    pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;

    /// Builds a verifier, unless the rules are unsafe.
    pub fn new(rules: TokenRules, keys: Arc<dyn KeySource>, clock: Arc<dyn Clock>) -> Result<Self, UnsafeTokenRules> {
        rules.check()?;
        let memory = TokenMemory::default();
        Ok(Self {
            rules,
            keys,
            clock,
            memory,
        })
    }

    /// Believes a token, or says why not.
    ///
    /// Cheap checks come first, the signature before a single claim is read, and nothing that the token
    /// says about where its key might be found is ever followed.
    pub async fn verify(&self, token: &str) -> Result<Operator, TokenError> {
        let verdict = self.check(token).await;
        if let Err(TokenError::Invalid(reason)) = verdict {
            tracing::debug!(token.reason = reason, "Refused an access token: {reason}");
        }
        verdict
    }

    async fn check(&self, token: &str) -> Result<Operator, TokenError> {
        let known = self.read(token).await?;
        known.claims.operator(&self.rules, self.clock.now())
    }

    /// Reads a token that one of the issuer's keys of this moment has signed.
    async fn read(&self, token: &str) -> Result<Arc<KnownToken>, TokenError> {
        if token.len() > Self::MAX_TOKEN_LENGTH {
            return Err(TokenError::Invalid("too long"));
        }
        let digest = Digest::of(token.as_bytes());
        if let Some(known) = self.memory.find(&digest) {
            let key = self.key(&known.header).await?;
            if Arc::ptr_eq(&key, &known.key) {
                return Ok(known);
            }
        }
        let parts = Parts::split(token)?;
        let header = Header::parse(&parts.header)?;
        let key = self.key(&header).await?;
        key.verify(parts.signed.as_bytes(), parts.signature)?;
        let claims = Claims::parse(&parts.claims)?;
        let known = Arc::new(KnownToken { header, key, claims });
        self.memory.remember(digest, Arc::clone(&known));
        Ok(known)
    }

    async fn key(&self, header: &Header) -> Result<Arc<VerificationKey>, TokenError> {
        let found = self.keys.find(header.key_id.as_deref()).await;
        let key = found
            .map_err(|KeysUnavailable| TokenError::KeysUnavailable)?
            .ok_or(TokenError::Invalid("no such key"))?;
        if key.algorithm() == header.algorithm {
            Ok(key)
        } else {
            Err(TokenError::Invalid("the algorithm is not the key's"))
        }
    }
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TokenVerifier")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl TokenRules {
    /// Says whether these rules would let in what nobody meant.
    pub fn check(&self) -> Result<(), UnsafeTokenRules> {
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err(UnsafeTokenRules::EmptyName);
        }
        if self.authorized_parties.is_empty() || self.authorized_parties.iter().any(String::is_empty) {
            return Err(UnsafeTokenRules::NoAuthorizedParty);
        }
        let RoleNames {
            admin,
            operator,
            viewer,
        } = &self.roles;
        let names = [admin, operator, viewer];
        if names.iter().any(|name| name.is_empty()) || admin == operator || admin == viewer || operator == viewer {
            return Err(UnsafeTokenRules::AmbiguousRoles);
        }
        if self.leeway > Self::MAX_LEEWAY {
            return Err(UnsafeTokenRules::TooMuchLeeway);
        }
        Ok(())
    }
}

/// The three parts of a JWS in compact form (RFC 7515 §7.1).
struct Parts<'token> {
    header: Vec<u8>,
    claims: Vec<u8>,
    /// Still in base64url.
    signature: &'token str,
    /// What the signature is over: the first two parts as they came.
    signed: &'token str,
}

impl<'token> Parts<'token> {
    fn split(token: &'token str) -> Result<Self, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(NOT_THREE_PARTS)?;
        let (header, claims) = signed.split_once('.').ok_or(NOT_THREE_PARTS)?;
        Ok(Self {
            header: decode(header)?,
            claims: decode(claims)?, // a further dot is no base64url
            signature,
            signed,
        })
    }
}

const NOT_THREE_PARTS: TokenError = TokenError::Invalid("not three parts");

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Invalid("not base64url"))
}
