use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use url::Url;

use super::page;
use super::parameters::{Form, Parameters, Query, Repeated};
use crate::issuer::Issuer;

/// Logs out a person who follows a link (OpenID Connect RP-Initiated Logout §2).
pub(super) async fn by_link(State(issuer): State<Arc<Issuer>>, Query(query): Query) -> Response {
    log_out(&issuer, query)
}

/// Logs out by a form; with a `refresh_token`, as Keycloak's applications do it without a browser.
pub(super) async fn by_form(State(issuer): State<Arc<Issuer>>, Form(form): Form) -> Response {
    log_out(&issuer, form)
}

fn log_out(issuer: &Issuer, parameters: Result<Parameters, Repeated>) -> Response {
    let Ok(parameters) = parameters else {
        return page::error("The request has a parameter twice.");
    };
    if let Some(refresh_token) = parameters.get("refresh_token") {
        issuer.log_out_by_refresh_token(refresh_token);
        return StatusCode::NO_CONTENT.into_response();
    }
    let by_hint = parameters
        .get("id_token_hint")
        .and_then(|hint| issuer.log_out_by_id_token(hint));
    let client = by_hint.or_else(|| issuer.client(parameters.get("client_id")?));
    let Some(asked) = parameters.get("post_logout_redirect_uri") else {
        return page::signed_out();
    };
    match client.and_then(|client| client.redirect_uri(asked)) {
        Some(address) => back_to(address, parameters.get("state")),
        None => page::error("The address to return to is not registered."),
    }
}

fn back_to(address: &Url, state: Option<&str>) -> Response {
    let mut address = address.clone();
    if let Some(state) = state {
        address.query_pairs_mut().append_pair("state", state);
    }
    Redirect::to(address.as_str()).into_response()
}
