//! Who sends: a secret as `Authorization: Bearer`. `ThingsBoard` can sign nothing.

use axum::extract::FromRequestParts;
use common::chassis::problem::Problem;
use common::chassis::token::{CredentialError, bearer};
use http::request::Parts;

use super::super::auth::client;
use super::super::state::AppState;
use crate::app::webhook_secret::WebhookSecrets;

/// The device platform's rule chain.
#[derive(Debug)]
pub(in crate::http) struct PlatformSender;

impl FromRequestParts<AppState> for PlatformSender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        recognise(parts, state, &state.doorkeeper.bridge.platform).map(|()| Self)
    }
}

/// Whoever passes the update server's news on.
#[derive(Debug)]
pub(in crate::http) struct UpdatesSender;

impl FromRequestParts<AppState> for UpdatesSender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        recognise(parts, state, &state.doorkeeper.bridge.updates).map(|()| Self)
    }
}

fn recognise(parts: &Parts, state: &AppState, secrets: &WebhookSecrets) -> Result<(), Problem> {
    match bearer(&parts.headers) {
        Ok(Some(secret)) if secrets.accept(secret) => Ok(()),
        Ok(Some(_)) => Err(state.refusal(client(parts), Problem::unauthenticated())),
        Ok(None) | Err(CredentialError::Malformed) => Err(Problem::unauthenticated()),
        Err(CredentialError::Ambiguous) => Err(Problem::ambiguous_credentials()),
    }
}
