use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use common::domain::Timestamp;

use crate::random::unguessable;
use crate::signing::base64url;

/// What a client asks a person for (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1).
#[derive(Debug, Clone)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    /// The PKCE challenge: the hash of a secret that only the client knows (RFC 7636 §4.2).
    pub(crate) challenge: String,
    pub(crate) nonce: Option<String>,
    pub(crate) scope: String,
}

/// What a person granted to a client by logging in.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) request: AuthorizationRequest,
    pub(crate) username: String,
    pub(crate) logged_in_at: Timestamp,
}

/// What a client shows for a code.
#[derive(Debug)]
pub(crate) struct Redemption<'request> {
    pub(crate) code: &'request str,
    pub(crate) client_id: &'request str,
    pub(crate) redirect_uri: &'request str,
    pub(crate) verifier: &'request str,
}

/// A running login and the one refresh token that goes on with it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The public name of the session, `sid` in its tokens.
    pub(crate) id: String,
    pub(crate) grant: Grant,
    pub(crate) refresh_token: String,
    idle_until: Timestamp,
    ends_at: Timestamp,
}

/// The codes and sessions of an issuer.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    codes: HashMap<String, Code>,
    /// By handle, the secret first half of every refresh token of the session.
    sessions: HashMap<String, Session>,
}

#[derive(Debug)]
struct Code {
    grant: Grant,
    /// The handle of the session that the code opens.
    handle: String,
    is_spent: bool,
    ends_at: Timestamp,
}

/// There is no room for more at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Ledger {
    /// A code is redeemed at once or never (RFC 6749 §4.1.2 recommends at most 10 minutes).
    const CODE_LIFETIME: Duration = Duration::from_mins(1);
    /// Keycloak's default for an idle session.
    pub(crate) const IDLE_LIFETIME: Duration = Duration::from_mins(30);
    /// Keycloak's default for any session.
    const SESSION_LIFETIME: Duration = Duration::from_hours(10);
    const MAX_CODES: usize = 1_000;
    const MAX_SESSIONS: usize = 10_000;

    /// Makes the code that the grant can be redeemed with, once.
    pub(crate) fn issue_code(&mut self, grant: Grant, now: Timestamp) -> Result<String, Full> {
        self.codes.retain(|_, code| code.ends_at > now);
        if self.codes.len() >= Self::MAX_CODES {
            return Err(Full);
        }
        let ends_at = now + Self::CODE_LIFETIME;
        let code = unguessable();
        self.codes.insert(
            code.clone(),
            Code {
                grant,
                handle: unguessable(),
                is_spent: false,
                ends_at,
            },
        );
        Ok(code)
    }

    /// Opens a session for a code.
    ///
    /// Any try spends the code. Who shows a spent one may have stolen it, or been stolen from: the session
    /// that it opened ends (RFC 6749 §4.1.2, RFC 9700 §4.5).
    pub(crate) fn redeem(&mut self, shown: &Redemption<'_>, now: Timestamp) -> Option<Session> {
        let code = self.codes.get_mut(shown.code).filter(|code| code.ends_at > now)?;
        if code.is_spent {
            self.sessions.remove(&code.handle);
            return None;
        }
        code.is_spent = true;
        if !code.grant.request.is_redeemed_by(shown) {
            return None;
        }
        let (handle, grant) = (code.handle.clone(), code.grant.clone());
        self.open(handle, grant, now)
    }

    /// Goes on with a session, and gives it a new refresh token.
    ///
    /// A refresh token works once: showing an old one ends the session (RFC 9700 §4.14.2).
    pub(crate) fn refresh(&mut self, refresh_token: &str, client_id: &str, now: Timestamp) -> Option<Session> {
        let (handle, _) = refresh_token.split_once('.')?;
        let session = self.sessions.get_mut(handle)?;
        let is_current = is_equal(refresh_token, &session.refresh_token);
        if !is_current || session.grant.request.client_id != client_id || !session.is_alive(now) {
            self.sessions.remove(handle);
            return None;
        }
        session.refresh_token = new_refresh_token(handle);
        session.idle_until = session.ends_at.min(now + Self::IDLE_LIFETIME);
        Some(session.clone())
    }

    /// Ends the session of a refresh token, old or current.
    pub(crate) fn end_by_refresh_token(&mut self, refresh_token: &str) {
        if let Some((handle, _)) = refresh_token.split_once('.') {
            self.sessions.remove(handle);
        }
    }

    /// Ends the session of this public name.
    pub(crate) fn end_by_id(&mut self, id: &str) {
        self.sessions.retain(|_, session| session.id != id);
    }

    /// Ends whatever the person has open.
    pub(crate) fn end_all_of(&mut self, username: &str) {
        self.codes.retain(|_, code| code.grant.username != username);
        self.sessions.retain(|_, session| session.grant.username != username);
    }

    fn open(&mut self, handle: String, grant: Grant, now: Timestamp) -> Option<Session> {
        self.sessions.retain(|_, session| session.is_alive(now));
        if self.sessions.len() >= Self::MAX_SESSIONS {
            tracing::warn!("Refused a login: {} sessions are open", Self::MAX_SESSIONS);
            return None;
        }
        let session = Session {
            id: unguessable(),
            grant,
            refresh_token: new_refresh_token(&handle),
            idle_until: now + Self::IDLE_LIFETIME,
            ends_at: now + Self::SESSION_LIFETIME,
        };
        self.sessions.insert(handle, session.clone());
        Some(session)
    }
}

impl Session {
    fn is_alive(&self, now: Timestamp) -> bool {
        now < self.idle_until && now < self.ends_at
    }
}

impl AuthorizationRequest {
    fn is_redeemed_by(&self, shown: &Redemption<'_>) -> bool {
        let hash = base64url(digest::digest(&digest::SHA256, shown.verifier.as_bytes()));
        self.client_id == shown.client_id
            && self.redirect_uri == shown.redirect_uri
            && is_verifier(shown.verifier)
            && is_equal(&hash, &self.challenge)
    }
}

/// Whether the text has the form of a PKCE verifier (RFC 7636 §4.1).
fn is_verifier(text: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(unreserved)
}

fn new_refresh_token(handle: &str) -> String {
    format!("{handle}.{}", unguessable())
}

fn is_equal(left: &str, right: &str) -> bool {
    verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; // RFC 7636 appendix B
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn a_code_is_redeemed_once_and_within_a_minute() {
        let mut ledger = Ledger::default();
        let (code, late) = (issue(&mut ledger), issue(&mut ledger));

        assert!(redeem(&mut ledger, &code, NOW).is_some());
        assert!(redeem(&mut ledger, &code, NOW).is_none());
        assert!(redeem(&mut ledger, &late, NOW + Ledger::CODE_LIFETIME).is_none());
    }

    #[test]
    fn whoever_shows_a_spent_code_ends_its_session() {
        let mut ledger = Ledger::default();
        let code = issue(&mut ledger);
        let session = redeem(&mut ledger, &code, NOW).unwrap();

        redeem(&mut ledger, &code, NOW);

        assert!(ledger.refresh(&session.refresh_token, "ui", NOW).is_none());
    }

    #[test]
    fn a_code_is_bound_to_client_address_and_verifier_and_one_wrong_try_spends_it() {
        let other_verifier = "x".repeat(43);
        let wrong = [
            ("other", "http://ui/", VERIFIER),
            ("ui", "http://ui/other", VERIFIER),
            ("ui", "http://ui/", other_verifier.as_str()),
            ("ui", "http://ui/", ""),
        ];
        for (client_id, redirect_uri, verifier) in wrong {
            let mut ledger = Ledger::default();
            let code = issue(&mut ledger);

            let shown = Redemption {
                code: &code,
                client_id,
                redirect_uri,
                verifier,
            };
            assert!(ledger.redeem(&shown, NOW).is_none(), "{shown:?}");

            assert!(redeem(&mut ledger, &code, NOW).is_none());
        }
    }

    #[test]
    fn a_verifier_too_short_to_be_a_secret_is_refused_though_it_matches() {
        let mut ledger = Ledger::default();
        let challenge = base64url(digest::digest(&digest::SHA256, b"short"));
        let request = AuthorizationRequest {
            challenge,
            ..grant().request
        };
        let code = ledger.issue_code(Grant { request, ..grant() }, NOW).unwrap();

        let shown = Redemption {
            code: &code,
            client_id: "ui",
            redirect_uri: "http://ui/",
            verifier: "short",
        };

        assert!(ledger.redeem(&shown, NOW).is_none());
    }

    #[test]
    fn a_refresh_token_works_once_and_reuse_ends_the_session() {
        let mut ledger = Ledger::default();
        let first = session(&mut ledger).refresh_token;
        let second = ledger.refresh(&first, "ui", NOW).unwrap().refresh_token;

        assert!(ledger.refresh(&first, "ui", NOW).is_none());

        assert!(ledger.refresh(&second, "ui", NOW).is_none());
    }

    #[test]
    fn a_session_ends_when_idle_and_in_any_case_after_ten_hours() {
        let mut ledger = Ledger::default();
        let idle = session(&mut ledger).refresh_token;
        assert!(ledger.refresh(&idle, "ui", NOW + Ledger::IDLE_LIFETIME).is_none());

        let (mut busy, mut now) = (session(&mut ledger).refresh_token, NOW);
        while let Some(session) = ledger.refresh(&busy, "ui", now) {
            busy = session.refresh_token;
            now += Duration::from_mins(29);
        }
        assert!(now >= NOW + Ledger::SESSION_LIFETIME);
    }

    #[test]
    fn sessions_end_by_token_by_id_and_by_person() {
        let mut ledger = Ledger::default();
        let mut refreshes_after = |end: fn(&mut Ledger, &Session)| {
            let session = session(&mut ledger);
            end(&mut ledger, &session);
            ledger.refresh(&session.refresh_token, "ui", NOW).is_some()
        };

        assert!(refreshes_after(|_, _| ()));
        assert!(!refreshes_after(
            |ledger, session| ledger.end_by_refresh_token(&session.refresh_token)
        ));
        assert!(!refreshes_after(|ledger, session| ledger.end_by_id(&session.id)));
        assert!(!refreshes_after(|ledger, _| ledger.end_all_of("olga")));
    }

    #[test]
    fn codes_are_bounded_and_make_room_when_they_end() {
        let mut ledger = Ledger::default();
        for _ in 0..Ledger::MAX_CODES {
            issue(&mut ledger);
        }

        assert_eq!(ledger.issue_code(grant(), NOW), Err(Full));
        assert!(ledger.issue_code(grant(), NOW + Ledger::CODE_LIFETIME).is_ok());
    }

    fn grant() -> Grant {
        let request = AuthorizationRequest {
            client_id: "ui".to_owned(),
            redirect_uri: "http://ui/".to_owned(),
            challenge: CHALLENGE.to_owned(),
            nonce: None,
            scope: "openid".to_owned(),
        };
        Grant {
            request,
            username: "olga".to_owned(),
            logged_in_at: NOW,
        }
    }

    fn issue(ledger: &mut Ledger) -> String {
        ledger.issue_code(grant(), NOW).unwrap()
    }

    fn redeem(ledger: &mut Ledger, code: &str, now: Timestamp) -> Option<Session> {
        let shown = Redemption {
            code,
            client_id: "ui",
            redirect_uri: "http://ui/",
            verifier: VERIFIER,
        };
        ledger.redeem(&shown, now)
    }

    fn session(ledger: &mut Ledger) -> Session {
        let code = issue(ledger);
        redeem(ledger, &code, NOW).unwrap()
    }
}
