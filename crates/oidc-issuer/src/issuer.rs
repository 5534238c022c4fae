use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use common::domain::Clock;
use jsonwebtoken::jwk::JwkSet;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use crate::config::{ClientConfig, InvalidIssuerConfig, IssuerConfig, UserConfig};
use crate::guesses::Guesses;
use crate::ledger::{AuthorizationRequest, Grant, Ledger, Redemption, Session};
use crate::passwords::Passwords;
use crate::random::unguessable;
use crate::signing::KeyRing;
use crate::tokens::{Occasion, TokenAnswer};

/// An issuer with its people, clients, keys and sessions.
pub struct Issuer {
    config: IssuerConfig,
    clock: Arc<dyn Clock>,
    keys: KeyRing,
    passwords: Passwords,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ledger: Ledger,
    guesses: Guesses,
    disabled: HashSet<String>,
    /// The people who are not what they were configured as any more.
    changed: HashMap<String, UserConfig>,
}

/// Why a person is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginRefusal {
    WrongCredentials,
    TooManyGuesses,
    /// There is no room for another login at the moment.
    Busy,
}

impl Issuer {
    /// Builds an issuer and makes its first key, which takes a fraction of a second.
    pub fn new(config: IssuerConfig, clock: Arc<dyn Clock>) -> Result<Arc<Self>, InvalidIssuerConfig> {
        config.check()?;
        let passwords = Passwords::new(&config.users);
        Ok(Arc::new(Self {
            config,
            clock,
            keys: KeyRing::new(),
            passwords,
            state: Mutex::default(),
        }))
    }

    /// Returns the issuer's routes, below the path of its name (`/realms/{realm}/…`).
    pub fn router(self: &Arc<Self>) -> Router {
        crate::http::router(self)
    }

    /// Returns the issuer's name.
    pub fn url(&self) -> &Url {
        &self.config.issuer_url
    }

    /// Makes a new key that signs from now on; tokens of the old ones stay good.
    pub fn rotate_keys(&self) {
        self.keys.rotate();
    }

    /// Forgets all keys but the newest; tokens of the old ones are worth nothing any more.
    pub fn retire_old_keys(&self) {
        self.keys.retire_old();
    }

    /// Ends a person's sessions and lets them in no more. Access tokens that are out stay good until they expire.
    pub fn disable_user(&self, username: &str) {
        let mut state = self.state();
        state.disabled.insert(username.to_owned());
        state.ledger.end_all_of(username);
    }

    /// Gives a person other roles and groups. Access tokens that are out say what they said.
    pub fn change_user(&self, username: &str, roles: Vec<String>, groups: Vec<String>) {
        if let Some(user) = self.config.user(username) {
            let user = UserConfig {
                roles,
                groups,
                ..user.clone()
            };
            self.state().changed.insert(username.to_owned(), user);
        }
    }

    /// Returns the claims of an access token that the person would get now through the client.
    pub fn access_claims(&self, username: &str, client_id: &str) -> Option<Value> {
        Some(
            self.occasion(username, client_id)?
                .access_claims(&unguessable(), "openid"),
        )
    }

    /// Signs any claims with the newest key: the back door of tests and of programs that own the issuer.
    pub fn mint(&self, claims: &Value) -> String {
        self.keys.sign(claims)
    }

    pub(crate) fn client(&self, client_id: &str) -> Option<&ClientConfig> {
        self.config.client(client_id)
    }

    pub(crate) fn knows_web_origin(&self, origin: &str) -> bool {
        self.config.clients.iter().any(|client| client.has_web_origin(origin))
    }

    pub(crate) fn jwks(&self) -> JwkSet {
        self.keys.jwks()
    }

    /// Checks a password and makes the code that the client gets its tokens for.
    pub(crate) fn log_in(
        &self,
        request: AuthorizationRequest,
        username: &str,
        password: &SecretString,
    ) -> Result<String, LoginRefusal> {
        let now = self.clock.now();
        let known = self.config.user(username).map(|user| user.username.as_str());
        if !self.state().guesses.begin(known, now) {
            tracing::warn!("Refused a login: too many wrong passwords");
            return Err(LoginRefusal::TooManyGuesses);
        }
        let matches = self.passwords.match_user(username, password);
        let mut state = self.state();
        if !matches || state.disabled.contains(username) {
            tracing::info!("Refused a login: wrong user name or password");
            return Err(LoginRefusal::WrongCredentials);
        }
        state.guesses.succeed(username);
        let grant = Grant {
            request,
            username: username.to_owned(),
            logged_in_at: now,
        };
        state.ledger.issue_code(grant, now).map_err(|_| LoginRefusal::Busy)
    }

    pub(crate) fn redeem(&self, redemption: &Redemption<'_>) -> Option<TokenAnswer> {
        let session = self.state().ledger.redeem(redemption, self.clock.now())?;
        self.answer(&session)
    }

    pub(crate) fn refresh(&self, refresh_token: &str, client_id: &str) -> Option<TokenAnswer> {
        let session = self
            .state()
            .ledger
            .refresh(refresh_token, client_id, self.clock.now())?;
        self.answer(&session)
    }

    pub(crate) fn log_out_by_refresh_token(&self, refresh_token: &str) {
        self.state().ledger.end_by_refresh_token(refresh_token);
    }

    /// Ends the session of an ID token of ours, expired ones included, and returns its client (OpenID
    /// Connect RP-Initiated Logout §2).
    pub(crate) fn log_out_by_id_token(&self, id_token: &str) -> Option<&ClientConfig> {
        let claims = self.keys.read_own(id_token)?;
        let text = |name: &str| claims.get(name)?.as_str();
        if text("typ") != Some("ID") {
            return None;
        }
        self.state().ledger.end_by_id(text("sid")?);
        self.client(text("azp")?)
    }

    /// Says who the holder of a living access token is now; none when they are disabled.
    pub(crate) fn person_of(&self, access_token: &str) -> Option<Value> {
        let claims = self.keys.read_own(access_token)?;
        let lives = claims.get("exp")?.as_i64()? > self.clock.now().unix_timestamp();
        let user = self.user(claims.get("preferred_username")?.as_str()?)?;
        let is_good = lives && claims.get("typ")? == "Bearer" && claims.get("sub")? == &user.subject;
        (is_good && !self.state().disabled.contains(&user.username)).then(|| {
            json!({
                "sub": user.subject,
                "preferred_username": user.username,
                "realm_access": {"roles": user.roles},
                "groups": user.groups,
            })
        })
    }

    fn user(&self, username: &str) -> Option<UserConfig> {
        let changed = self.state().changed.get(username).cloned();
        changed.or_else(|| self.config.user(username).cloned())
    }

    fn answer(&self, session: &Session) -> Option<TokenAnswer> {
        let occasion = self.occasion(&session.grant.username, &session.grant.request.client_id)?;
        Some(occasion.answer(session, &self.keys))
    }

    fn occasion(&self, username: &str, client_id: &str) -> Option<Occasion<'_>> {
        let (user, client) = (self.user(username)?, self.config.client(client_id)?);
        Some(Occasion {
            config: &self.config,
            client,
            user,
            now: self.clock.now(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the state")
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Issuer")
            .field("url", &self.config.issuer_url.as_str())
            .finish_non_exhaustive()
    }
}
