//! Which certificate signing requests (PKCS #10, RFC 2986) are accepted. No I/O, no clock, no state.
//!
//! The request is a device's bytes and goes on to an authority with another parser. So its shape is checked first,
//! to the last byte, then its meaning, against a list of what is allowed; and the authority gets the names from
//! us, not from here.

mod der;
mod keys;
mod names;

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::domain::{DeviceId, Digest};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use der::{BIT_STRING, CONTEXT_0, Element, INTEGER, NotDer, OID, SEQUENCE, SET};

/// Largest request in DER, in bytes: a 4096-bit RSA request of our profile has less than 2 KiB.
pub const MAX_DER_LENGTH: usize = 8 * 1024;
/// Largest request in PEM, in bytes.
const MAX_PEM_LENGTH: usize = MAX_DER_LENGTH / 3 * 4 + 1024;

/// More attributes than any tool writes.
const MAX_ATTRIBUTES: usize = 8;

const LABEL: &str = "CERTIFICATE REQUEST";
/// What some old tools write (RFC 7468 §7 tells parsers to accept it).
const OLD_LABEL: &str = "NEW CERTIFICATE REQUEST";

/// A request that asks for exactly what a device gets, proven to come from the holder of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedCsr {
    /// The request, DER, byte for byte as it was checked.
    pub der: Vec<u8>,
    /// SHA-256 of the request.
    pub digest: Digest,
    /// SHA-256 of its subject public key info.
    pub key_digest: Digest,
}

/// Why a request is not accepted. The text is for the device's maker; it repeats nothing of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CsrRejection {
    /// Someone sent the key itself.
    #[error("This is a private key. It is burnt: make a new one, and send a request for it, never the key.")]
    PrivateKey,
    /// Not one PEM block with one DER structure of the right shape.
    #[error("The CSR is not one PEM block labelled CERTIFICATE REQUEST with one PKCS #10 request in DER.")]
    Malformed,
    /// Two places ask for extensions, or one extension is there twice.
    #[error("The CSR asks for extensions in more than one place, or for one of them twice.")]
    AmbiguousExtensions,
    /// The common name is another.
    #[error("The CSR's common name is not the id of this device, or is none that a device can have.")]
    CnMismatch,
    /// Nobody is named.
    #[error("The CSR names nobody: its subject must be CN=<device id>.")]
    NoIdentity,
    /// More than one common name, or something else, or in an encoding that hides something.
    #[error("The CSR's subject must be CN=<device id> and nothing else, as UTF8String or PrintableString.")]
    SubjectNotAllowed,
    /// An alternative name that is not the id.
    #[error("The CSR's only alternative name may be the device id as dNSName.")]
    SanMismatch,
    /// An alternative name of another kind.
    #[error("The CSR asks for an alternative name of a kind that devices do not get.")]
    SanNotAllowed,
    /// Alternative names by the dozen.
    #[error("The CSR asks for too many alternative names.")]
    TooManyNames,
    /// To be an authority.
    #[error("The CSR asks to be a certificate authority.")]
    CaNotAllowed,
    /// A key usage beyond signing.
    #[error("The CSR asks for a key usage other than digitalSignature.")]
    KeyUsageNotAllowed,
    /// An extended key usage beyond client authentication.
    #[error("The CSR asks for an extended key usage other than clientAuth.")]
    EkuNotAllowed,
    /// Any other extension or attribute.
    #[error("The CSR asks for an extension or carries an attribute that devices do not get.")]
    ExtensionNotAllowed,
    /// A key of ours.
    #[error("The CSR's key may not be used by a device.")]
    KeyBlocked,
    /// A key that can be broken.
    #[error("The CSR's key is too weak.")]
    WeakKey,
    /// A key of another kind.
    #[error("The CSR's key must be P-256, P-384, Ed25519, or RSA with 2048, 3072 or 4096 bits.")]
    UnsupportedKey,
    /// Nothing proves that the sender holds the key.
    #[error(
        "The CSR's signature is not by its own key, or is none of ECDSA with SHA-256 or SHA-384, RSA with SHA-2, Ed25519."
    )]
    BadSignature,
}

impl CsrRejection {
    /// Returns the stable name of the reason.
    pub fn code(self) -> &'static str {
        match self {
            Self::PrivateKey => "private-key",
            Self::Malformed | Self::AmbiguousExtensions => "malformed",
            Self::CnMismatch => "cn-mismatch",
            Self::NoIdentity => "no-identity",
            Self::SubjectNotAllowed => "subject-not-allowed",
            Self::SanMismatch => "san-mismatch",
            Self::SanNotAllowed => "san-not-allowed",
            Self::TooManyNames => "too-many-names",
            Self::CaNotAllowed => "ca-not-allowed",
            Self::KeyUsageNotAllowed => "key-usage-not-allowed",
            Self::EkuNotAllowed => "eku-not-allowed",
            Self::ExtensionNotAllowed => "extension-not-allowed",
            Self::KeyBlocked => "key-blocked",
            Self::WeakKey => "weak-key",
            Self::UnsupportedKey => "unsupported-key",
            Self::BadSignature => "bad-signature",
        }
    }
}

impl From<NotDer> for CsrRejection {
    fn from(_: NotDer) -> Self {
        Self::Malformed
    }
}

/// Accepts a request in PEM (RFC 7468) for this device, or says why not.
pub fn accept(id: &DeviceId, pem: &str) -> Result<AcceptedCsr, CsrRejection> {
    let der = decode_pem(pem)?;
    check_shape(&der)?;
    let (rest, csr) = X509CertificationRequest::from_der(&der).map_err(|_| CsrRejection::Malformed)?;
    let info = &csr.certification_request_info;
    if !rest.is_empty() || info.version != X509Version::V1 {
        return Err(CsrRejection::Malformed);
    }
    let extensions = names::extensions(&csr)?;
    names::check_subject(id, &info.subject, !extensions.is_empty())?;
    let kind = keys::check(&info.subject_pki)?;
    names::check_extensions(id, extensions, kind)?;
    check_signature(&csr)?;
    let key_digest = Digest::of(info.subject_pki.raw);
    Ok(AcceptedCsr {
        digest: Digest::of(&der),
        key_digest,
        der,
    })
}

/// Returns the device that a request (DER) is for, where the path does not name one: its only common name. It is not
/// accepted by that.
pub fn requested_id(der: &[u8]) -> Result<DeviceId, CsrRejection> {
    if der.len() > MAX_DER_LENGTH {
        return Err(CsrRejection::Malformed);
    }
    check_shape(der)?;
    let (_, csr) = X509CertificationRequest::from_der(der).map_err(|_| CsrRejection::Malformed)?;
    let subject = &csr.certification_request_info.subject;
    let mut names = subject.iter_common_name();
    let name = names.next().ok_or(CsrRejection::NoIdentity)?;
    if names.next().is_some() {
        return Err(CsrRejection::SubjectNotAllowed);
    }
    let text = name.as_str().map_err(|_| CsrRejection::SubjectNotAllowed)?;
    DeviceId::parse(text).map_err(|_| CsrRejection::CnMismatch)
}

/// Reads a request as EST sends it, DER in base64 with white space anywhere (RFC 8951 §3.1): for whom it is, and its
/// PEM. It is not accepted by that.
pub fn from_base64(body: &[u8]) -> Result<(DeviceId, String), CsrRejection> {
    let text: Vec<u8> = body
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let der = STANDARD.decode(text).map_err(|_| CsrRejection::Malformed)?;
    let id = requested_id(&der)?;
    Ok((id, to_pem(&der)))
}

/// Writes a request as PEM.
pub fn to_pem(der: &[u8]) -> String {
    pem_rfc7468::encode_string(LABEL, pem_rfc7468::LineEnding::LF, der).expect("a request that was read fits")
}

fn decode_pem(pem: &str) -> Result<Vec<u8>, CsrRejection> {
    if pem.contains("PRIVATE KEY-----") {
        return Err(CsrRejection::PrivateKey);
    }
    // The decoder would skip text before the block; what it skips, nobody checked.
    if pem.len() > MAX_PEM_LENGTH || !pem.starts_with("-----BEGIN ") {
        return Err(CsrRejection::Malformed);
    }
    let (label, der) = pem_rfc7468::decode_vec(pem.as_bytes()).map_err(|_| CsrRejection::Malformed)?;
    if (label == LABEL || label == OLD_LABEL) && der.len() <= MAX_DER_LENGTH {
        Ok(der)
    } else {
        Err(CsrRejection::Malformed)
    }
}

/// Each structure has exactly the parts of RFC 2986 §4, so that no parser can overlook one.
fn check_shape(der: &[u8]) -> Result<(), NotDer> {
    let [info, algorithm, _signature] = Element::read(der)?.fields([SEQUENCE, SEQUENCE, BIT_STRING])?;
    algorithm.check_typed(1)?;
    let [_version, subject, key, attributes] = info.fields([INTEGER, SEQUENCE, SEQUENCE, CONTEXT_0])?;
    subject.check_name()?;
    let [algorithm, _key] = key.fields([SEQUENCE, BIT_STRING])?;
    algorithm.check_typed(1)?;
    for attribute in attributes.parts(0, MAX_ATTRIBUTES)? {
        let [_type, values] = attribute.fields([OID, SET])?;
        values.parts(1, 1)?;
    }
    Ok(())
}

fn check_signature(csr: &X509CertificationRequest<'_>) -> Result<(), CsrRejection> {
    let algorithms = [
        OID_SIG_ECDSA_WITH_SHA256,
        OID_SIG_ECDSA_WITH_SHA384,
        OID_SIG_ED25519,
        OID_PKCS1_SHA256WITHRSA,
        OID_PKCS1_SHA384WITHRSA,
        OID_PKCS1_SHA512WITHRSA,
    ];
    if !algorithms.contains(&csr.signature_algorithm.algorithm) || csr.signature_value.unused_bits != 0 {
        return Err(CsrRejection::BadSignature);
    }
    csr.verify_signature().map_err(|_| CsrRejection::BadSignature)
}
