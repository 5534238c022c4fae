//! How a certificate is told, and that there is none yet.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use common::domain::{DeviceId, IssuedCertificate, System, rfc3339};
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde::Serialize;

/// A certificate and its chain; each field is PEM blocks one after the other.
#[derive(Serialize)]
pub(super) struct CertificateFields {
    certificate: String,
    certificate_chain: String,
    ca_chain: String,
    not_after: String,
}

#[derive(Serialize)]
struct WaitingBody {
    device_id: DeviceId,
    waiting_for: &'static str,
}

impl CertificateFields {
    pub(super) fn of(certificate: IssuedCertificate) -> Self {
        Self {
            certificate_chain: format!(
                "{}{}",
                certificate.leaf_pem,
                intermediates(&certificate.ca_chain_pem, certificate.intermediates)
            ),
            certificate: certificate.leaf_pem,
            ca_chain: certificate.ca_chain_pem,
            not_after: rfc3339(certificate.not_after),
        }
    }
}

/// 202: the request is on record, and the same one again fetches the result.
pub(super) fn waiting(device_id: DeviceId, system: System, retry_after: Duration) -> Response {
    let seconds = retry_after.as_secs().max(1).to_string();
    let body = WaitingBody {
        device_id,
        waiting_for: system.as_str(),
    };
    (StatusCode::ACCEPTED, [(RETRY_AFTER, seconds)], Json(body)).into_response()
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
}
