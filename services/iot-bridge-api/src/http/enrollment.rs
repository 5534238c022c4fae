//! `POST /devices/{id}/enroll`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use common::chassis::client_address::ClientAddress;
use common::chassis::json::StrictJson;
use common::chassis::path::PathDeviceId;
use common::chassis::problem::Problem;
use common::domain::{AdmitError, DeviceId, WireguardKey, rfc3339};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::{Deserialize, Serialize};
use wireguard::quick::{HubEndpoint, WgQuickConfig};
use wireguard::{KEEPALIVE_SECONDS, MTU};

use super::auth::EnrollmentToken;
use super::problem;
use super::state::AppState;
use crate::app::enrollment::{EnrollError, Enrolled, Enrollment, EnrollmentRequest, Outcome};

/// Longest name or type of a device, in characters.
const MAX_LABEL_LENGTH: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrollRequest {
    csr: String,
    #[serde(default)]
    device_name: Option<String>,
    #[serde(default)]
    device_type: Option<String>,
    #[serde(default)]
    wg_public_key: Option<String>,
}

#[derive(Serialize)]
struct EnrollResponse {
    device_id: DeviceId,
    certificate: String,
    certificate_chain: String,
    ca_chain: String,
    not_after: String,
    wireguard_ip: std::net::Ipv4Addr,
    wireguard_config: String,
    server_time: String,
}

#[derive(Serialize)]
struct WaitingResponse {
    device_id: DeviceId,
    waiting_for: &'static str,
}

pub(super) async fn enroll(
    token: EnrollmentToken,
    State(state): State<AppState>,
    State(enrollment): State<Arc<Enrollment>>,
    PathDeviceId(id): PathDeviceId,
    StrictJson(request): StrictJson<EnrollRequest>,
) -> Result<Response, Problem> {
    let refused = |error| refused(&state, token.client, error);
    // Nobody's wishes are looked at before it is clear who speaks.
    let applicant = enrollment.authenticate(&id, token.digest).await.map_err(refused)?;
    let request = EnrollmentRequest::try_from(request)?;
    let outcome = enrollment.enroll(&applicant, request).await.map_err(refused)?;
    Ok(match outcome {
        Outcome::Enrolled(enrolled) => answer(*enrolled, state.hub_endpoint()),
        Outcome::Waiting { system, retry_after } => {
            let seconds = retry_after.as_secs().max(1).to_string();
            let body = WaitingResponse {
                device_id: id,
                waiting_for: system.as_str(),
            };
            (StatusCode::ACCEPTED, [(RETRY_AFTER, seconds)], Json(body)).into_response()
        }
    })
}

/// Returns the answer to a refusal; a wrong token counts as a guess.
fn refused(state: &AppState, client: ClientAddress, error: EnrollError) -> Problem {
    let is_wrong_token = matches!(error, EnrollError::Admit(AdmitError::InvalidToken));
    let problem = problem::enroll(error);
    if is_wrong_token {
        state.count_failure(client, problem)
    } else {
        problem
    }
}

impl TryFrom<EnrollRequest> for EnrollmentRequest {
    type Error = Problem;

    fn try_from(request: EnrollRequest) -> Result<Self, Problem> {
        let key = request.wg_public_key.as_deref().map(WireguardKey::parse).transpose();
        Ok(Self {
            csr: request.csr,
            wireguard_key: key.map_err(|_invalid| problem::wireguard_key_invalid())?,
            device_type: label("device_type", request.device_type)?,
            display_name: label("device_name", request.device_name)?,
        })
    }
}

/// A text that people will see in lists: short, not empty, without anything that moves the cursor.
fn label(field: &str, text: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let is_plain = text
        .chars()
        .all(|character| character == ' ' || character.is_alphanumeric() || is_mark(character));
    let length = text.chars().count();
    if is_plain && (1..=MAX_LABEL_LENGTH).contains(&length) && text.trim() == text {
        Ok(Some(text))
    } else {
        Err(problem::invalid_field(field))
    }
}

fn is_mark(character: char) -> bool {
    character.is_ascii_punctuation() && !matches!(character, '<' | '>' | '"' | '`' | '\\')
}

fn answer(enrolled: Enrolled, hub_endpoint: HubEndpoint) -> Response {
    let status = if enrolled.repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let certificate = enrolled.certificate;
    let config = WgQuickConfig {
        private_key: enrolled.private_key,
        address: enrolled.address.ip(),
        mtu: MTU,
        hub_key: enrolled.hub_key,
        hub_endpoint,
        hub_address: enrolled.hub_address,
        keepalive_seconds: KEEPALIVE_SECONDS,
    };
    let body = EnrollResponse {
        device_id: enrolled.device_id,
        certificate_chain: format!(
            "{}{}",
            certificate.leaf_pem,
            intermediates(&certificate.ca_chain_pem, certificate.intermediates)
        ),
        certificate: certificate.leaf_pem,
        ca_chain: certificate.ca_chain_pem,
        not_after: rfc3339(certificate.not_after),
        wireguard_ip: enrolled.address.ip(),
        wireguard_config: config.render(),
        server_time: rfc3339(enrolled.server_time),
    };
    (status, Json(body)).into_response()
}

/// Returns the first blocks of a PEM chain.
fn intermediates(chain: &str, count: u8) -> String {
    const END: &str = "-----END CERTIFICATE-----\n";
    chain.split_inclusive(END).take(count.into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_of_a_leaf_ends_below_the_root() {
        let block = |name| format!("-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n");
        let chain = format!("{}{}", block("intermediate"), block("root"));

        assert_eq!(intermediates(&chain, 1), block("intermediate"));
        assert_eq!(intermediates(&chain, 0), "");
    }

    #[test]
    fn a_label_is_short_and_plain() {
        let label = |text: &str| label("device_name", Some(text.to_owned()));
        for good in ["Pump 7", "Pumpe Süd (3)", "7", "a/b"] {
            assert!(label(good).is_ok(), "{good}");
        }
        let too_long = "x".repeat(65);
        for bad in [
            "",
            " ",
            " a",
            "a\nb",
            "\u{202e}abc",
            "a\u{200b}b",
            "\u{1b}[2J",
            "<script>",
            &too_long,
        ] {
            assert!(label(bad).is_err(), "{bad:?}");
        }
    }
}
