use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use secrecy::SecretString;
use url::Url;

use super::discovery::SCOPES;
use super::page;
use super::parameters::{Form, Parameters, Query, Repeated};
use crate::issuer::{Issuer, LoginRefusal};
use crate::ledger::AuthorizationRequest;

/// Longest `state` and `nonce`, in bytes; both are kept or echoed.
const MAX_ECHO_LENGTH: usize = 1024;

/// Shows the login form (RFC 6749 §3.1, OpenID Connect Core §3.1.2).
pub(super) async fn show_login(State(issuer): State<Arc<Issuer>>, Query(query): Query) -> Response {
    match Asked::read(&issuer, query) {
        Ok(asked) => page::login(&asked.request.client_id, &asked.redirect_uri, None),
        Err(refusal) => refusal.into_response(),
    }
}

/// Takes the form, which is sent to the address that showed it, and sends the person back with a code.
///
/// A page elsewhere may send this form, too, but gains nothing: the code goes to the client's own address,
/// and a client takes only the code of a `state` and a verifier that it made itself (RFC 9700 §2.1).
pub(super) async fn log_in(State(issuer): State<Arc<Issuer>>, Query(query): Query, Form(form): Form) -> Response {
    let asked = match Asked::read(&issuer, query) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.into_response(),
    };
    let Ok(form) = form else {
        return page::error("The form has a field twice.");
    };
    let username = form.get("username").unwrap_or_default();
    let password = SecretString::from(form.get("password").unwrap_or_default());
    let client_id = asked.request.client_id.clone();
    match issuer.log_in(asked.request, username, &password) {
        Ok(code) => to(&asked.back.with(&[("code", &code)])),
        Err(LoginRefusal::Busy) => to(&asked.back.with(&[("error", "temporarily_unavailable")])),
        Err(refusal @ (LoginRefusal::WrongCredentials | LoginRefusal::TooManyGuesses)) => {
            page::login(&client_id, &asked.redirect_uri, Some(refusal))
        }
    }
}

/// An authorization request that was checked.
struct Asked {
    request: AuthorizationRequest,
    redirect_uri: Url,
    back: WayBack,
}

/// The client's address, with what every answer there carries.
struct WayBack {
    redirect_uri: Url,
    state: Option<String>,
    issuer: String,
}

enum Refusal {
    /// Nobody can be trusted to send the person back to: an error page (RFC 6749 §4.1.2.1).
    Page(&'static str),
    /// The client is told, at its own address.
    Back(Url),
}

impl Asked {
    fn read(issuer: &Issuer, query: Result<Parameters, Repeated>) -> Result<Self, Refusal> {
        let query = query.map_err(|Repeated| Refusal::Page("The request has a parameter twice."))?;
        let client = query.get("client_id").and_then(|id| issuer.client(id));
        let client = client.ok_or(Refusal::Page("The application is not known here."))?;
        let redirect_uri = query.get("redirect_uri").and_then(|uri| client.redirect_uri(uri));
        let redirect_uri = redirect_uri.ok_or(Refusal::Page("The address to return to is not registered."))?;
        let back = WayBack {
            redirect_uri: redirect_uri.clone(),
            state: query.get("state").map(str::to_owned),
            issuer: issuer.url().to_string(),
        };
        if let Some(error) = fault(&query) {
            return Err(Refusal::Back(back.with(&[("error", error)])));
        }
        let request = AuthorizationRequest {
            client_id: client.client_id.clone(),
            redirect_uri: redirect_uri.to_string(),
            challenge: query.get("code_challenge").unwrap_or_default().to_owned(),
            nonce: query.get("nonce").map(str::to_owned),
            scope: granted_scope(&query),
        };
        Ok(Self {
            request,
            redirect_uri: redirect_uri.clone(),
            back,
        })
    }
}

impl WayBack {
    fn with(self, answer: &[(&str, &str)]) -> Url {
        let mut address = self.redirect_uri;
        address.query_pairs_mut().extend_pairs(answer);
        if let Some(state) = &self.state {
            address.query_pairs_mut().append_pair("state", state);
        }
        // So that the client notices an answer of another issuer (RFC 9207).
        address.query_pairs_mut().append_pair("iss", &self.issuer);
        address
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Page(message) => page::error(message),
            Self::Back(address) => to(&address),
        }
    }
}

fn to(address: &Url) -> Response {
    Redirect::to(address.as_str()).into_response()
}

/// What is wrong with a request, as the client is told (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
fn fault(query: &Parameters) -> Option<&'static str> {
    let too_long = |name| query.get(name).is_some_and(|value: &str| value.len() > MAX_ECHO_LENGTH);
    let is_answered_in_query = query.get("response_mode").is_none_or(|mode| mode == "query");
    if query.get("request").is_some() {
        Some("request_not_supported")
    } else if query.get("request_uri").is_some() {
        Some("request_uri_not_supported")
    } else if !query.is("response_type", "code") {
        Some("unsupported_response_type")
    } else if !granted_scope(query).split(' ').any(|scope| scope == "openid") {
        Some("invalid_scope")
    } else if !has_challenge(query) || too_long("state") || too_long("nonce") || !is_answered_in_query {
        Some("invalid_request")
    } else if query.is("prompt", "none") {
        Some("login_required") // nobody stays logged in here without a token
    } else {
        None
    }
}

/// Whether PKCE is used, and with a hash: `plain` protects nothing (RFC 9700 §2.1.1).
fn has_challenge(query: &Parameters) -> bool {
    let base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_hash = |text: &str| text.len() == 43 && text.bytes().all(base64url);
    query.is("code_challenge_method", "S256") && query.get("code_challenge").is_some_and(is_hash)
}

fn granted_scope(query: &Parameters) -> String {
    let asked = query.get("scope").unwrap_or_default();
    asked
        .split(' ')
        .filter(|scope| SCOPES.contains(scope))
        .collect::<Vec<_>>()
        .join(" ")
}
