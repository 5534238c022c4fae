//! Who is calling: the first argument of every handler. A handler that has one cannot be called without.

use axum::extract::{FromRequestParts, MatchedPath};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::chassis::client_address::ClientAddress;
use common::chassis::path::PathDeviceId;
use common::chassis::problem::Problem;
use common::chassis::server::PeerCertificate;
use common::chassis::token::{CredentialError, TokenError, bearer};
use common::domain::{Actor, Operator, Role};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::problem;
use super::state::AppState;
use crate::app::identity::{self, ProofError};
use crate::app::token_secret::TokenDigest;

/// A person who may see the devices of their groups.
#[derive(Debug)]
pub(super) struct Viewer(pub(super) Operator);

impl FromRequestParts<AppState> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        operator(parts, state).await.map(Self)
    }
}

/// A person who may change everything.
#[derive(Debug)]
pub(super) struct Admin(pub(super) Operator);

impl Admin {
    /// Returns the person for the audit trail.
    pub(super) fn actor(&self) -> Actor {
        Actor::from(&self.0)
    }
}

impl FromRequestParts<AppState> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let operator = operator(parts, state).await?;
        if operator.role >= Role::Admin {
            return Ok(Self(operator));
        }
        state
            .record_refused_operator(&operator, parts)
            .await
            .map_err(problem::store)?;
        Err(Problem::forbidden())
    }
}

async fn operator(parts: &mut Parts, state: &AppState) -> Result<Operator, Problem> {
    let keeper = &state.doorkeeper;
    let client = client(parts);
    let token = bearer(&parts.headers)?.ok_or_else(problem::no_access_token)?;
    keeper.access_tokens.verify(token).await.map_err(|error| {
        let is_guess = matches!(error, TokenError::Invalid(_));
        let problem = Problem::from(error);
        if is_guess {
            state.refusal(client, problem)
        } else {
            problem
        }
    })
}

/// The holder of one of our enrollment tokens. Whether it is still good, and for whom, the registry says.
#[derive(Debug)]
pub(super) struct EnrollmentToken {
    pub(super) digest: TokenDigest,
    /// Whose failures are counted when the registry does not know the token.
    pub(super) client: ClientAddress,
}

impl FromRequestParts<AppState> for EnrollmentToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        if !state.doorkeeper.doors.enroll {
            return Err(problem::enrollment_needs_tls());
        }
        let client = client(parts);
        let text = token_text(&parts.headers)?.ok_or_else(problem::no_enrollment_token)?;
        let digest = state.doorkeeper.pepper.recognise(&text);
        let digest = digest.ok_or_else(|| state.refusal(client, problem::no_enrollment_token()))?;
        Ok(Self { digest, client })
    }
}

/// A device in service, by the certificate of its connection; the path, where it names a device, names this one.
#[derive(Debug)]
pub(super) struct ProvenDevice(pub(super) identity::ProvenDevice);

impl FromRequestParts<AppState> for ProvenDevice {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let Some(PeerCertificate(leaf)) = parts.extensions.get::<PeerCertificate>().cloned() else {
            return Err(problem::proof(None));
        };
        let client = client(parts);
        let proven = match state.identities().recognise(&leaf).await {
            Ok(proven) => proven,
            Err(error) => return Err(refused_device(state, client, &leaf, error).await),
        };
        let names_a_device = parts
            .extensions
            .get::<MatchedPath>()
            .is_some_and(|path| path.as_str().contains("{id}"));
        if names_a_device {
            let PathDeviceId(id) = PathDeviceId::from_request_parts(parts, state).await?;
            if id != proven.device.id {
                return Err(refused_device(state, client, &leaf, ProofError::OtherDevice).await);
            }
        }
        Ok(Self(proven))
    }
}

/// Returns the answer to whoever's certificate opens nothing. It counts like a wrong secret, and is recorded unless there
/// were too many.
async fn refused_device(state: &AppState, client: ClientAddress, leaf: &[u8], error: ProofError) -> Problem {
    match error {
        ProofError::NotCurrent | ProofError::Quarantined | ProofError::OtherDevice => {
            if let Err(too_many) = state.count_failure(client) {
                return too_many;
            }
        }
        ProofError::Store(_) => {}
    }
    let recorded = state.identities().record_refused(leaf, &error).await;
    problem::proof(Some(recorded.err().map_or(error, ProofError::from)))
}

/// Finds the token: `Bearer T`, or the password of `Basic` (RFC 7617), whose user name does not matter.
fn token_text(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    match bearer(headers) {
        Ok(Some(token)) => Ok(Some(token.to_owned())),
        Ok(None) => Ok(headers.get(AUTHORIZATION).and_then(basic_password)),
        Err(CredentialError::Ambiguous) => Err(Problem::ambiguous_credentials()),
        Err(CredentialError::Malformed) => Ok(None),
    }
}

fn basic_password(header: &HeaderValue) -> Option<String> {
    let (scheme, credentials) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    text.split_once(':').map(|(_user, password)| password.to_owned())
}

/// The layers have put it there.
pub(super) fn client(parts: &Parts) -> ClientAddress {
    let unknown = ClientAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    parts.extensions.get::<ClientAddress>().copied().unwrap_or(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_basic_is_the_token() {
        let password = |header: &'static str| basic_password(&HeaderValue::from_static(header));

        assert_eq!(password("Basic dTpw").as_deref(), Some("p"));
        assert_eq!(password("basic OnA=").as_deref(), Some("p"));
        assert_eq!(password("Basic dTpwOnE=").as_deref(), Some("p:q"));
        for bad in ["Basic", "Basic ", "Basic  dTpw", "Basic dQ==", "Basic !", "Digest dTpw"] {
            assert_eq!(password(bad), None, "{bad}");
        }
    }
}
