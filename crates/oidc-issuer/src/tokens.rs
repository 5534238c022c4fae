use std::time::Duration;

use aws_lc_rs::digest;
use common::domain::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{ClientConfig, IssuerConfig, UserConfig};
use crate::ledger::{Ledger, Session};
use crate::random::unguessable;
use crate::signing::{KeyRing, base64url};

/// The answer of the token endpoint (RFC 6749 §5.1, OpenID Connect Core §3.1.3.3).
#[derive(Serialize)]
pub(crate) struct TokenAnswer {
    access_token: String,
    expires_in: u64,
    refresh_token: String,
    refresh_expires_in: u64,
    token_type: &'static str,
    id_token: String,
    scope: String,
}

/// Whom tokens are about and for, and when.
#[derive(Debug)]
pub(crate) struct Occasion<'issuer> {
    pub(crate) config: &'issuer IssuerConfig,
    pub(crate) client: &'issuer ClientConfig,
    pub(crate) user: UserConfig,
    pub(crate) now: Timestamp,
}

impl Occasion<'_> {
    /// Makes the tokens that a session is entitled to.
    pub(crate) fn answer(&self, session: &Session, keys: &KeyRing) -> TokenAnswer {
        let access_token = keys.sign(&self.access_claims(&session.id, &session.grant.request.scope));
        TokenAnswer {
            expires_in: self.config.access_token_lifetime.as_secs(),
            refresh_token: session.refresh_token.clone(),
            refresh_expires_in: Ledger::IDLE_LIFETIME.as_secs(),
            token_type: "Bearer",
            id_token: keys.sign(&self.id_claims(session, &access_token)),
            scope: session.grant.request.scope.clone(),
            access_token,
        }
    }

    /// An access token's claims as Keycloak writes them.
    pub(crate) fn access_claims(&self, session_id: &str, scope: &str) -> Value {
        let audience = match self.client.audiences.as_slice() {
            [one] => json!(one),
            several => json!(several),
        };
        json!({
            "exp": (self.now + self.lifetime()).unix_timestamp(),
            "iat": self.now.unix_timestamp(),
            "jti": unguessable(),
            "iss": self.config.issuer_url.as_str(),
            "aud": audience,
            "sub": self.user.subject,
            "typ": "Bearer",
            "azp": self.client.client_id,
            "sid": session_id,
            "realm_access": {"roles": self.user.roles},
            "scope": scope,
            "groups": self.user.groups,
            "preferred_username": self.user.username,
        })
    }

    /// An ID token's claims (OpenID Connect Core §2).
    fn id_claims(&self, session: &Session, access_token: &str) -> Value {
        let mut claims = json!({
            "exp": (self.now + self.lifetime()).unix_timestamp(),
            "iat": self.now.unix_timestamp(),
            "auth_time": session.grant.logged_in_at.unix_timestamp(),
            "jti": unguessable(),
            "iss": self.config.issuer_url.as_str(),
            "aud": self.client.client_id,
            "sub": self.user.subject,
            "typ": "ID",
            "azp": self.client.client_id,
            "sid": session.id,
            "at_hash": access_token_hash(access_token),
            "preferred_username": self.user.username,
        });
        if let (Some(nonce), Some(members)) = (&session.grant.request.nonce, claims.as_object_mut()) {
            members.insert("nonce".to_owned(), json!(nonce));
        }
        claims
    }

    fn lifetime(&self) -> Duration {
        self.config.access_token_lifetime
    }
}

/// The left half of the access token's hash (OpenID Connect Core §3.1.3.6).
fn access_token_hash(access_token: &str) -> String {
    let hash = digest::digest(&digest::SHA256, access_token.as_bytes());
    let (left, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    base64url(left)
}
