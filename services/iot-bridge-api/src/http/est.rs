//! EST (RFC 7030): certificates for clients that speak the standard. The network comes by
//! `PUT /devices/{id}/wireguard`.

mod pkcs7;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::chassis::problem::Problem;
use common::domain::{DeviceId, IssuedCertificate, System};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName};

use super::auth::{EnrollmentToken, ProvenDevice};
use super::enrollment::refused_token;
use super::state::AppState;
use super::{certificate, problem};
use crate::app::csr::CsrRejection;
use crate::app::enrollment::{Enrollment, EnrollmentRequest, Labels, Outcome};
use crate::app::renewal::{RenewalOutcome, Renewals};
use crate::app::{Authority, certificate as x509, csr};

const PKCS10: &str = "application/pkcs10";
const CERTS_ONLY: &str = "application/pkcs7-mime; smime-type=certs-only";
const TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");
/// What a request should look like (RFC 7030 §4.5.2): a P-256 key, `SEQUENCE { SEQUENCE { id-ecPublicKey, SET {
/// secp256r1 } }, ecdsa-with-SHA256 }`.
const CSR_ATTRIBUTES: &[u8] = &[
    0x30, 0x21, 0x30, 0x15, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x31, 0x0a, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
];

/// A PKCS #10 request in base64 (RFC 7030 §4.2.1): for whom it is, and its PEM. What is wrong with it is for those who
/// know who sent it.
pub(super) struct Pkcs10(Result<(DeviceId, String), CsrRejection>);

impl<S: Send + Sync> FromRequest<S> for Pkcs10 {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case(PKCS10) {
            return Err(Problem::unsupported_media_type());
        }
        let body = Bytes::from_request(request, state)
            .await
            .map_err(|_too_large| Problem::payload_too_large())?;
        Ok(Self(csr::from_base64(&body)))
    }
}

/// The roots, and what is between them and a leaf (RFC 7030 §4.1.3): a leaf comes alone.
pub(super) async fn authorities(State(authority): State<Arc<Authority>>) -> Result<Response, Problem> {
    let roots = authority.roots().await.map_err(|error| problem::upstream(&error))?;
    let between = authority.intermediates().await;
    let between = between.map_err(|error| problem::upstream(&error))?;
    Ok(certificates(&(roots + &between)))
}

pub(super) async fn attributes() -> Response {
    encoded("application/csrattrs", CSR_ATTRIBUTES)
}

pub(super) async fn enroll(
    token: EnrollmentToken,
    State(state): State<AppState>,
    State(enrollment): State<Arc<Enrollment>>,
    Pkcs10(request): Pkcs10,
) -> Result<Response, Problem> {
    let (id, csr) = match request {
        Ok(request) => request,
        Err(rejection) => {
            return Err(match enrollment.refuse(token.digest, rejection).await {
                Ok(refusal) => problem::enroll(refusal),
                Err(error) => refused_token(&state, &token, None, error).await,
            });
        }
    };
    let applicant = match enrollment.authenticate(&id, token.digest).await {
        Ok(applicant) => applicant,
        Err(error) => return Err(refused_token(&state, &token, Some(&id), error).await),
    };
    let wishes = EnrollmentRequest {
        csr,
        // Its place in the network is kept under a key that nobody has, until it brings its own.
        wireguard_key: Ok(None),
        labels: Ok(Labels::default()),
    };
    let outcome = enrollment.enroll(&applicant, wishes).await.map_err(problem::enroll)?;
    Ok(match outcome {
        Outcome::Enrolled(enrolled) => leaf(enrolled.certificate),
        Outcome::Waiting { system, retry_after } => certificate::waiting(id, system, retry_after),
    })
}

pub(super) async fn reenroll(
    ProvenDevice(device): ProvenDevice,
    State(renewals): State<Arc<Renewals>>,
    Pkcs10(request): Pkcs10,
) -> Result<Response, Problem> {
    let csr = request
        .as_ref()
        .map(|(_, pem)| pem.as_str())
        .map_err(|rejection| *rejection);
    let outcome = renewals.renew(&device, csr).await.map_err(problem::enroll)?;
    Ok(match outcome {
        RenewalOutcome::Renewed(renewed) => leaf(renewed.certificate),
        RenewalOutcome::Waiting { retry_after } => {
            certificate::waiting(device.device.id, System::CertificateAuthority, retry_after)
        }
    })
}

/// The certificate and nothing else: the chain is what `cacerts` is for (RFC 7030 §4.2.3).
fn leaf(certificate: IssuedCertificate) -> Response {
    certificates(&certificate.leaf_pem)
}

fn certificates(pem: &str) -> Response {
    let certificates = x509::to_der(pem).unwrap_or_default(); // what we verified or pinned is PEM
    encoded(CERTS_ONLY, &pkcs7::certs_only(&certificates))
}

/// One line: receivers should tolerate line breaks (RFC 8951 §3.1), and not all do, such as strongSwan's `pki` 5.9.8. It
/// ends, because `openssl base64 -d` leaves out one that does not.
fn encoded(kind: &'static str, der: &[u8]) -> Response {
    let headers = [(CONTENT_TYPE, kind), (TRANSFER_ENCODING, "base64")];
    (StatusCode::OK, headers, STANDARD.encode(der) + "\n").into_response()
}
