use std::collections::BTreeSet;

use serde::Deserialize;

use super::{RoleNames, TokenError, TokenRules};
use crate::chassis::json;
use crate::domain::{GroupName, Operator, Role, Timestamp};

/// What counts of an access token's claims, as Keycloak names them.
///
/// Times are whole seconds since 1970 (RFC 7519 §2 would allow fractions; no issuer here sends them).
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    iss: String,
    aud: Audience,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    sub: String,
    /// The client that the token was given to.
    azp: String,
    /// `Bearer` for an access token; Keycloak writes `ID` and `Refresh` into its other tokens.
    typ: String,
    preferred_username: String,
    #[serde(default)]
    realm_access: RealmAccess,
    #[serde(default)]
    groups: Vec<String>,
}

/// One name or several (RFC 7519 §4.1.3); nothing but strings.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RealmAccess {
    #[serde(default)]
    pub(super) roles: Vec<String>,
}

/// Longest `sub` and `preferred_username`, in bytes (OpenID Connect Core §2 for `sub`).
const MAX_NAME_LENGTH: usize = 255;

/// How Keycloak names the user that stands for a client's own account.
const SERVICE_ACCOUNT_PREFIX: &str = "service-account-";

impl Claims {
    /// Reads them; a claim that is there twice, at any depth, is refused (RFC 7519 §4 lets readers differ).
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        json::parse(bytes).map_err(|_| TokenError::Invalid("a claim is missing or malformed"))
    }

    /// Checks every claim and names the person.
    pub(super) fn operator(&self, rules: &TokenRules, now: Timestamp) -> Result<Operator, TokenError> {
        self.check_parties(rules)?;
        let expires_at = self.check_times(rules, now)?;
        self.check_person()?;
        let role = strongest_role(&self.realm_access.roles, &rules.roles).ok_or(TokenError::NoRole)?;
        Ok(Operator {
            groups: fleets(&self.groups),
            subject: self.sub.clone(),
            username: self.preferred_username.clone(),
            role,
            expires_at,
        })
    }

    fn check_parties(&self, rules: &TokenRules) -> Result<(), TokenError> {
        if self.iss != rules.issuer {
            return Err(TokenError::Invalid("other issuer"));
        }
        if !self.aud.contains(&rules.audience) {
            return Err(TokenError::Invalid("other audience"));
        }
        if !rules.authorized_parties.contains(&self.azp) {
            return Err(TokenError::Invalid("client not allowed"));
        }
        if self.typ != "Bearer" {
            return Err(TokenError::Invalid("not an access token"));
        }
        Ok(())
    }

    fn check_times(&self, rules: &TokenRules, now: Timestamp) -> Result<Timestamp, TokenError> {
        let time =
            |seconds| Timestamp::from_unix_timestamp(seconds).map_err(|_| TokenError::Invalid("time out of range"));
        let (expires_at, issued_at) = (time(self.exp)?, time(self.iat)?);
        if expires_at <= now - rules.leeway {
            return Err(TokenError::Invalid("expired"));
        }
        if issued_at > now + rules.leeway {
            return Err(TokenError::Invalid("issued in the future"));
        }
        if expires_at - issued_at > rules.max_lifetime {
            return Err(TokenError::Invalid("lives too long"));
        }
        if let Some(not_before) = self.nbf
            && time(not_before)? > now + rules.leeway
        {
            return Err(TokenError::Invalid("not valid yet"));
        }
        Ok(expires_at)
    }

    fn check_person(&self) -> Result<(), TokenError> {
        if !is_name(&self.sub) || !is_name(&self.preferred_username) {
            return Err(TokenError::Invalid(
                "subject or user name is empty, too long or unprintable",
            ));
        }
        if self.preferred_username.starts_with(SERVICE_ACCOUNT_PREFIX) {
            return Err(TokenError::Invalid("a client's own account"));
        }
        Ok(())
    }
}

impl Audience {
    fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(name) => name == audience,
            Self::Several(names) => names.iter().any(|name| name == audience),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_NAME_LENGTH && !text.contains(char::is_control)
}

pub(super) fn strongest_role(granted: &[String], names: &RoleNames) -> Option<Role> {
    let has = |name: &String| granted.contains(name);
    if has(&names.admin) {
        Some(Role::Admin)
    } else if has(&names.operator) {
        Some(Role::Operator)
    } else if has(&names.viewer) {
        Some(Role::Viewer)
    } else {
        None
    }
}

/// Reads `/fleets/<name>` entries; groups of other paths, deeper ones included, are not about devices.
pub(super) fn fleets(groups: &[String]) -> BTreeSet<GroupName> {
    let name = |path: &String| GroupName::parse(path.strip_prefix("/fleets/")?).ok();
    groups.iter().filter_map(name).collect()
}
