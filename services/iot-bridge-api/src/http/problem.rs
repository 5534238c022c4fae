//! The one table from errors to answers. What went wrong inside stays inside: it is logged here, once.

use std::error::Error;
use std::time::Duration;

use common::chassis::problem::{Problem, ProblemType, error_chain};
use common::chassis::token::INVALID_TOKEN;
use common::domain::{AddPrefixError, AdmitError, InvalidVpnNetwork, RegistryError, StoreError, System};
use http::StatusCode;

use crate::app::alignment::AlignError;
use crate::app::csr::CsrRejection;
use crate::app::enrollment::{EnrollError, InvalidLabel};
use crate::app::identity::ProofError;
use crate::app::tokens::CreateTokenError;
use crate::ports::UpstreamError;

/// When to ask again after something of ours, or of the neighbours, was away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The problems that only this service has.
pub(super) const OWN: &[ProblemType] = &[
    CSR_MALFORMED,
    CSR_REJECTED,
    WG_KEY_INVALID,
    DEVICE_MISMATCH,
    TOKEN_USED_UP,
    ALREADY_ENROLLED,
    ENROLLMENT_CONFLICT,
    DEVICE_QUARANTINED,
    DEVICE_DECOMMISSIONED,
    KEY_ALREADY_USED,
    KEY_REUSE,
    WG_KEY_IN_USE,
    ADDRESS_POOL_EXHAUSTED,
    ENROLLMENT_NEEDS_TLS,
    WRONG_STATE,
    CA_UNAVAILABLE,
    CA_BAD_ANSWER,
    CA_REFUSED,
    HUB_UNAVAILABLE,
    HUB_BAD_ANSWER,
    NEIGHBOUR_UNAVAILABLE,
    NEIGHBOUR_BAD_ANSWER,
    MISSING_DEVICE,
    INVALID_METADATA,
    METADATA_TOO_LARGE,
    PREFIX_INVALID,
    PREFIX_OVERLAPS,
];

const fn kind(status: StatusCode, slug: &'static str, meaning: &'static str) -> ProblemType {
    ProblemType { slug, status, meaning }
}

const CSR_MALFORMED: ProblemType = kind(
    StatusCode::BAD_REQUEST,
    "csr-malformed",
    "The CSR is not one PEM block with one PKCS #10 request in DER.",
);
const CSR_REJECTED: ProblemType = kind(
    StatusCode::UNPROCESSABLE_ENTITY,
    "csr-rejected",
    "The CSR asks for something else than what a device gets; `code` says what.",
);
const WG_KEY_INVALID: ProblemType = kind(
    StatusCode::UNPROCESSABLE_ENTITY,
    "wg-key-invalid",
    "The WireGuard key is not a usable public key of a device.",
);
const DEVICE_MISMATCH: ProblemType = kind(
    StatusCode::FORBIDDEN,
    "device-mismatch",
    "The credential is not for this device.",
);
const TOKEN_USED_UP: ProblemType = kind(
    StatusCode::FORBIDDEN,
    "token-used-up",
    "The enrollment token has enrolled as many devices as it may.",
);
const ALREADY_ENROLLED: ProblemType = kind(
    StatusCode::CONFLICT,
    "already-enrolled",
    "The device is enrolled with another key; an admin can allow a new enrollment.",
);
const ENROLLMENT_CONFLICT: ProblemType = kind(
    StatusCode::CONFLICT,
    "enrollment-conflict",
    "The token already brought another request for this device.",
);
const DEVICE_QUARANTINED: ProblemType = kind(
    StatusCode::FORBIDDEN,
    "device-quarantined",
    "The device is shut out until an admin releases it.",
);
const DEVICE_DECOMMISSIONED: ProblemType = kind(
    StatusCode::GONE,
    "device-decommissioned",
    "The device was decommissioned; its id does not come back.",
);
const KEY_ALREADY_USED: ProblemType = kind(
    StatusCode::CONFLICT,
    "key-already-used",
    "The certificate key belongs to another device, now or in the past.",
);
const KEY_REUSE: ProblemType = kind(
    StatusCode::CONFLICT,
    "key-reuse",
    "The certificate key is the device's own of before; a new enrollment brings a new one.",
);
const WG_KEY_IN_USE: ProblemType = kind(
    StatusCode::CONFLICT,
    "wg-key-in-use",
    "The WireGuard key cannot be used by this device.",
);
const ADDRESS_POOL_EXHAUSTED: ProblemType = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "address-pool-exhausted",
    "The device network has no free address.",
);
const ENROLLMENT_NEEDS_TLS: ProblemType = kind(
    StatusCode::FORBIDDEN,
    "enrollment-needs-tls",
    "Devices do not enroll at this address; use the TLS address of the service.",
);
const WRONG_STATE: ProblemType = kind(
    StatusCode::CONFLICT,
    "wrong-state",
    "The device's state does not allow this; `state` names it.",
);
const CA_UNAVAILABLE: ProblemType = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "ca-unavailable",
    "The certificate authority does not answer.",
);
const CA_BAD_ANSWER: ProblemType = kind(
    StatusCode::BAD_GATEWAY,
    "ca-bad-answer",
    "The certificate authority gave an answer that is not believed.",
);
const CA_REFUSED: ProblemType = kind(
    StatusCode::UNPROCESSABLE_ENTITY,
    "ca-refused",
    "The certificate authority refused; an operator has to look.",
);
const HUB_UNAVAILABLE: ProblemType = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "hub-unavailable",
    "The hub of the device network does not answer.",
);
const HUB_BAD_ANSWER: ProblemType = kind(
    StatusCode::BAD_GATEWAY,
    "hub-bad-answer",
    "The hub of the device network is not as it should be.",
);

const NEIGHBOUR_UNAVAILABLE: ProblemType = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "neighbour-unavailable",
    "The update server, the device platform or the metrics store does not answer.",
);
const NEIGHBOUR_BAD_ANSWER: ProblemType = kind(
    StatusCode::BAD_GATEWAY,
    "neighbour-bad-answer",
    "The update server, the device platform or the metrics store refused, or its answer is not believed.",
);

const MISSING_DEVICE: ProblemType = kind(
    StatusCode::UNPROCESSABLE_ENTITY,
    "missing-device",
    "The message does not say which device it is about, or names two.",
);
const INVALID_METADATA: ProblemType = kind(
    StatusCode::UNPROCESSABLE_ENTITY,
    "invalid-metadata",
    "A metadata key is 1 to 64 of A-Z, a-z, 0-9, '_' and '-', is not ours (`bridge_`), and has a plain value.",
);
const METADATA_TOO_LARGE: ProblemType = kind(
    StatusCode::UNPROCESSABLE_ENTITY,
    "metadata-too-large",
    "The message has more than 32 metadata, a value of more than 256 characters, or is too large or too deep.",
);

const PREFIX_INVALID: ProblemType = kind(
    StatusCode::UNPROCESSABLE_ENTITY,
    "prefix-invalid",
    "A prefix of the device network is private, between /12 and /30, and one of at most eight.",
);
const PREFIX_OVERLAPS: ProblemType = kind(
    StatusCode::CONFLICT,
    "prefix-overlaps",
    "The prefix shares addresses with one that the device network has or had.",
);

/// A prefix that the network cannot take in.
pub(super) fn add_prefix(error: AddPrefixError) -> Problem {
    match error {
        AddPrefixError::Invalid(InvalidVpnNetwork::Overlap) => Problem::of(&PREFIX_OVERLAPS),
        AddPrefixError::Invalid(
            InvalidVpnNetwork::Prefix | InvalidVpnNetwork::Hub | InvalidVpnNetwork::Ula | InvalidVpnNetwork::TooMany,
        ) => Problem::of(&PREFIX_INVALID),
        AddPrefixError::Store(error) => store(error),
    }
}

/// A message about nobody.
pub(super) fn missing_device() -> Problem {
    Problem::of(&MISSING_DEVICE)
}

/// A message about what no device can be called. Unlike in a path, it is the content that is wrong.
pub(super) fn unprocessable_device_id() -> Problem {
    let kind = Problem::invalid_device_id();
    let detail = "The message names a device by what is not a device id.";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, kind.slug(), detail)
}

/// Metadata that we do not take.
pub(super) fn invalid_metadata() -> Problem {
    Problem::of(&INVALID_METADATA)
}

/// More than we take.
pub(super) fn metadata_too_large() -> Problem {
    Problem::of(&METADATA_TOO_LARGE)
}

/// Something that we need is away.
pub(super) fn away() -> Problem {
    Problem::unavailable(RETRY_AFTER)
}

/// Nobody said who calls.
pub(super) fn no_access_token() -> Problem {
    Problem::of(&INVALID_TOKEN).with_challenge("Bearer")
}

/// No credential, or none of ours: the same answer. Basic comes first for EST clients (RFC 7030 §3.2.3), of which some
/// look at the first challenge only.
pub(super) fn no_enrollment_token() -> Problem {
    Problem::unauthenticated().with_challenge(r#"Basic realm="enroll", Bearer realm="enroll""#)
}

/// The listener is open to the network and has no TLS.
pub(super) fn enrollment_needs_tls() -> Problem {
    Problem::of(&ENROLLMENT_NEEDS_TLS)
}

/// Not a WireGuard key.
pub(super) fn wireguard_key_invalid() -> Problem {
    Problem::of(&WG_KEY_INVALID)
}

/// A field has a value that it may not have.
pub(super) fn invalid_field(field: &str) -> Problem {
    Problem::invalid_field(Some(field.to_owned()))
}

/// A name or a type that people should not see.
pub(super) fn label(InvalidLabel(field): InvalidLabel) -> Problem {
    invalid_field(field)
}

/// No certificate, or none that counts: the same answer. There is no scheme of this name to register a client for;
/// it says what to come with.
fn no_device_certificate() -> Problem {
    Problem::unauthenticated().with_challenge(r#"ClientCertificate realm="device""#)
}

pub(super) fn proof(error: Option<ProofError>) -> Problem {
    match error {
        None | Some(ProofError::NotCurrent) => no_device_certificate(),
        Some(ProofError::Quarantined) => Problem::of(&DEVICE_QUARANTINED),
        Some(ProofError::OtherDevice) => Problem::of(&DEVICE_MISMATCH),
        Some(ProofError::Store(error)) => store(error),
    }
}

pub(super) fn enroll(error: EnrollError) -> Problem {
    match error {
        EnrollError::Csr(rejection) => csr(rejection),
        EnrollError::WireguardKeyInvalid => wireguard_key_invalid(),
        EnrollError::LabelInvalid(invalid) => label(invalid),
        EnrollError::Admit(error) => admit(error),
        EnrollError::Upstream(error) => upstream(&error),
    }
}

pub(super) fn csr(rejection: CsrRejection) -> Problem {
    let is_unreadable = matches!(rejection, CsrRejection::Malformed | CsrRejection::PrivateKey);
    let problem = if is_unreadable {
        Problem::of(&CSR_MALFORMED)
    } else {
        Problem::of(&CSR_REJECTED).with_code(rejection.code())
    };
    problem.with_detail(rejection.to_string())
}

fn admit(error: AdmitError) -> Problem {
    match error {
        AdmitError::InvalidToken => no_enrollment_token(),
        AdmitError::DeviceMismatch => Problem::of(&DEVICE_MISMATCH),
        AdmitError::TokenUsedUp => Problem::of(&TOKEN_USED_UP),
        AdmitError::AlreadyEnrolled => Problem::of(&ALREADY_ENROLLED),
        AdmitError::Conflict => Problem::of(&ENROLLMENT_CONFLICT),
        AdmitError::Quarantined => Problem::of(&DEVICE_QUARANTINED),
        AdmitError::Retired => Problem::of(&DEVICE_DECOMMISSIONED),
        AdmitError::KeyAlreadyUsed => Problem::of(&KEY_ALREADY_USED),
        AdmitError::KeyReused => Problem::of(&KEY_REUSE),
        AdmitError::WireguardKeyInUse => Problem::of(&WG_KEY_IN_USE),
        AdmitError::AddressPoolExhausted => {
            Problem::of(&ADDRESS_POOL_EXHAUSTED).with_retry_after(Duration::from_hours(1))
        }
        AdmitError::Store(error) => store(error),
    }
}

pub(super) fn registry(error: RegistryError) -> Problem {
    match error {
        RegistryError::Unknown => Problem::not_found(),
        RegistryError::WrongState(state) => Problem::of(&WRONG_STATE).with_member("state", state.as_str()),
        RegistryError::Store(error) => store(error),
    }
}

pub(super) fn create_token(error: CreateTokenError) -> Problem {
    match error {
        CreateTokenError::Quota => invalid_field("quota"),
        CreateTokenError::ReturnDevice => invalid_field("device_id"),
        CreateTokenError::Lifetime | CreateTokenError::ReturnLifetime => invalid_field("expires_in_seconds"),
        CreateTokenError::Store(error) => store(error),
    }
}

pub(super) fn store(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable { .. } => {
            log(&error);
            away()
        }
        StoreError::Corrupt { .. } => Problem::internal(&error),
    }
}

pub(super) fn upstream(error: &UpstreamError) -> Problem {
    log(error);
    let (unavailable, refused, unexpected) = match error.system() {
        System::CertificateAuthority => (&CA_UNAVAILABLE, &CA_REFUSED, &CA_BAD_ANSWER),
        System::Vpn => (&HUB_UNAVAILABLE, &HUB_BAD_ANSWER, &HUB_BAD_ANSWER),
        System::DevicePlatform | System::UpdateServer | System::MetricsStore => {
            (&NEIGHBOUR_UNAVAILABLE, &NEIGHBOUR_BAD_ANSWER, &NEIGHBOUR_BAD_ANSWER)
        }
    };
    match error {
        UpstreamError::Unavailable { .. } => Problem::of(unavailable).with_retry_after(RETRY_AFTER),
        UpstreamError::Refused { .. } => Problem::of(refused),
        UpstreamError::Unexpected { .. } => Problem::of(unexpected),
    }
}

pub(super) fn align(error: AlignError) -> Problem {
    match error {
        AlignError::Upstream(error) => upstream(&error),
        AlignError::Store(error) => store(error),
    }
}

fn log(error: &(dyn Error + 'static)) {
    tracing::error!(error = error_chain(error), "A request failed");
}
