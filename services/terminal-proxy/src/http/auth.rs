//! Who is calling.

use axum::extract::FromRequestParts;
use common::chassis::client_address::ClientAddress;
use common::chassis::problem::Problem;
use common::chassis::token::{CredentialError, bearer};
use common::domain::Operator;
use http::HeaderMap;
use http::request::Parts;
use secrecy::SecretString;

use super::doors::Doors;
use super::problem;
use super::state::AppState;
use super::websocket::bearer_protocols;
use crate::access::{Credential, Visitor};

/// A person with an access token in `Authorization: Bearer`; what they may do is asked by what they do.
#[derive(Debug)]
pub(super) struct Caller(pub(super) Operator);

impl FromRequestParts<AppState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let CallerWithToken(visitor) = CallerWithToken::from_request_parts(parts, state).await?;
        Ok(Self(visitor.operator))
    }
}

/// A person with an access token in `Authorization: Bearer` who does something that the token outlives.
#[derive(Debug)]
pub(super) struct CallerWithToken(pub(super) Visitor);

impl FromRequestParts<AppState> for CallerWithToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let client = client(parts);
        let token = header_token(&parts.headers)?.ok_or_else(problem::no_token)?;
        let visitor = state.access.admit(&token).await;
        visitor
            .map(Self)
            .map_err(|error| problem::token_problem(error, &state.failures, client))
    }
}

/// A credential, and whether it can only have been sent on purpose: a page elsewhere can open a WebSocket
/// with any address and sub-protocol, but not with a header of its own.
#[derive(Debug)]
pub(super) struct Presented {
    pub(super) credential: Credential,
    pub(super) needs_origin: bool,
}

/// Finds the one credential of a request for a terminal, wherever it is.
pub(super) fn presented(parts: &Parts, doors: &Doors) -> Result<Presented, Problem> {
    let query = Query::read(parts.uri.query().unwrap_or_default());
    if query.tokens.len() > 1 || query.tickets.len() > 1 {
        return Err(Problem::ambiguous_credentials());
    }
    let mut found = Vec::new();
    if let Some(token) = header_token(&parts.headers)? {
        found.push(Presented {
            credential: Credential::Token(token),
            needs_origin: false,
        });
    }
    for token in bearer_protocols(&parts.headers) {
        found.push(Presented {
            credential: Credential::Token(token.into()),
            needs_origin: true,
        });
    }
    for token in query.tokens {
        if !doors.allow_query_token {
            return Err(
                problem::no_token().with_detail("This service takes no access token in the address; use a ticket.")
            );
        }
        found.push(Presented {
            credential: Credential::Token(token),
            needs_origin: true,
        });
    }
    for ticket in query.tickets {
        found.push(Presented {
            credential: Credential::Ticket(ticket),
            needs_origin: false,
        });
    }
    match found.len() {
        0 | 1 => found.pop().ok_or_else(problem::no_token),
        _ => Err(Problem::ambiguous_credentials()),
    }
}

/// The credentials in a query.
#[derive(Default)]
struct Query {
    tokens: Vec<SecretString>,
    tickets: Vec<SecretString>,
}

impl Query {
    fn read(query: &str) -> Self {
        let mut read = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "token" => read.tokens.push(value.into_owned().into()),
                "ticket" => read.tickets.push(value.into_owned().into()),
                _ => {}
            }
        }
        read
    }
}

/// Reads a query parameter that is no credential; one that is there twice is ambiguous.
pub(super) fn single_parameter(query: &str, name: &str) -> Result<Option<String>, Problem> {
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    let mut values = pairs
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned());
    let value = values.next();
    if values.next().is_some() {
        Err(Problem::ambiguous_parameter())
    } else {
        Ok(value)
    }
}

fn header_token(headers: &HeaderMap) -> Result<Option<SecretString>, Problem> {
    match bearer(headers) {
        Ok(token) => Ok(token.map(SecretString::from)),
        Err(CredentialError::Ambiguous) => Err(Problem::ambiguous_credentials()),
        Err(CredentialError::Malformed) => Err(problem::no_token()),
    }
}

/// The layers have put it there.
pub(super) fn client(parts: &Parts) -> ClientAddress {
    let unknown = ClientAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    parts.extensions.get::<ClientAddress>().copied().unwrap_or(unknown)
}
