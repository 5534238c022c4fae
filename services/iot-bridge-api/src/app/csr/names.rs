//! Which names and extensions a request may carry: the device's id and nothing else.

use common::domain::DeviceId;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension, X509Extension};
use x509_parser::oid_registry::{
    OID_PKCS9_CHALLENGE_PASSWORD, OID_PKCS9_EXTENSION_REQUEST, OID_PKCS9_UNSTRUCTURED_NAME, OID_X509_COMMON_NAME,
};
use x509_parser::x509::X509Name;

use super::CsrRejection;
use super::der::{Element, MAX_DEPTH};
use super::keys::KeyKind;

/// More names than this are not a mistake but an attempt.
const MANY_NAMES: usize = 8;

const UTF8_STRING: u32 = 12;
const PRINTABLE_STRING: u32 = 19;

/// The subject is one common name, and it is the id.
pub(super) fn check_subject(id: &DeviceId, subject: &X509Name<'_>, has_san: bool) -> Result<(), CsrRejection> {
    let mut attributes = subject.iter_attributes();
    let Some(attribute) = attributes.next() else {
        return Err(if has_san {
            CsrRejection::CnMismatch
        } else {
            CsrRejection::NoIdentity
        });
    };
    if attributes.next().is_some() || *attribute.attr_type() != OID_X509_COMMON_NAME {
        return Err(CsrRejection::SubjectNotAllowed);
    }
    let value = attribute.attr_value();
    let is_plain_text = matches!(value.tag().0, UTF8_STRING | PRINTABLE_STRING);
    if !is_plain_text || value.data.iter().any(u8::is_ascii_control) {
        return Err(CsrRejection::SubjectNotAllowed);
    }
    if value.data == id.as_str().as_bytes() {
        Ok(())
    } else {
        Err(CsrRejection::CnMismatch)
    }
}

/// Returns the requested extensions; only one attribute may request any.
pub(super) fn extensions<'a>(csr: &'a X509CertificationRequest<'a>) -> Result<&'a [X509Extension<'a>], CsrRejection> {
    let mut requested: Option<&[X509Extension<'_>]> = None;
    for attribute in csr.certification_request_info.iter_attributes() {
        if attribute.oid == OID_PKCS9_CHALLENGE_PASSWORD || attribute.oid == OID_PKCS9_UNSTRUCTURED_NAME {
            continue; // what `openssl req` asks for interactively; nobody reads it
        }
        if attribute.oid != OID_PKCS9_EXTENSION_REQUEST {
            return Err(CsrRejection::ExtensionNotAllowed);
        }
        let ParsedCriAttribute::ExtensionRequest(request) = attribute.parsed_attribute() else {
            return Err(CsrRejection::Malformed);
        };
        Element::read(attribute.value)?.check_extensions()?;
        if requested.replace(&request.extensions).is_some() {
            return Err(CsrRejection::AmbiguousExtensions);
        }
    }
    Ok(requested.unwrap_or_default())
}

/// Each extension is one of the profile, at most once, and asks for no more than the profile gives.
pub(super) fn check_extensions(
    id: &DeviceId,
    extensions: &[X509Extension<'_>],
    kind: KeyKind,
) -> Result<(), CsrRejection> {
    for (index, extension) in extensions.iter().enumerate() {
        if extensions
            .iter()
            .take(index)
            .any(|earlier| earlier.oid == extension.oid)
        {
            return Err(CsrRejection::AmbiguousExtensions);
        }
        let value = Element::read(extension.value)?;
        check_extension(id, extension, kind)?;
        let is_names = matches!(extension.parsed_extension(), ParsedExtension::SubjectAlternativeName(_));
        value.check_universal(if is_names { 0 } else { MAX_DEPTH })?;
    }
    Ok(())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a list of what is allowed; all else is refused"
)]
fn check_extension(id: &DeviceId, extension: &X509Extension<'_>, kind: KeyKind) -> Result<(), CsrRejection> {
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => check_names(id, &names.general_names),
        ParsedExtension::BasicConstraints(constraints) => {
            if constraints.ca || constraints.path_len_constraint.is_some() {
                return Err(CsrRejection::CaNotAllowed);
            }
            Ok(())
        }
        // What is allowed is in the first byte, and the parser drops what is behind the second one.
        ParsedExtension::KeyUsage(_) if extension.value.len() > 4 => Err(CsrRejection::KeyUsageNotAllowed),
        ParsedExtension::KeyUsage(usage) => check_key_usage(usage, kind),
        ParsedExtension::ExtendedKeyUsage(usage) => {
            let others = [
                usage.any,
                usage.server_auth,
                usage.code_signing,
                usage.email_protection,
                usage.time_stamping,
                usage.ocsp_signing,
                !usage.other.is_empty(),
            ];
            if others.contains(&true) {
                Err(CsrRejection::EkuNotAllowed)
            } else {
                Ok(())
            }
        }
        ParsedExtension::SubjectKeyIdentifier(_) if !extension.critical => Ok(()),
        ParsedExtension::ParseError { .. } => Err(if extension.oid == BASIC_CONSTRAINTS {
            CsrRejection::CaNotAllowed // for example a negative path length
        } else {
            CsrRejection::Malformed
        }),
        _ => Err(CsrRejection::ExtensionNotAllowed),
    }
}

const BASIC_CONSTRAINTS: x509_parser::oid_registry::asn1_rs::Oid<'static> =
    x509_parser::oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS;

/// A device signs in TLS handshakes; with an RSA key it may also ask for key encipherment, as old tools do.
fn check_key_usage(usage: &KeyUsage, kind: KeyKind) -> Result<(), CsrRejection> {
    const DIGITAL_SIGNATURE: u16 = 1;
    const KEY_ENCIPHERMENT: u16 = 1 << 2;
    let allowed = match kind {
        KeyKind::Rsa => DIGITAL_SIGNATURE | KEY_ENCIPHERMENT,
        KeyKind::Other => DIGITAL_SIGNATURE,
    };
    if usage.flags & !allowed == 0 {
        Ok(())
    } else {
        Err(CsrRejection::KeyUsageNotAllowed)
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a list of what is allowed; all else is refused"
)]
fn check_names(id: &DeviceId, names: &[GeneralName<'_>]) -> Result<(), CsrRejection> {
    if names.len() > MANY_NAMES {
        return Err(CsrRejection::TooManyNames);
    }
    for name in names {
        match name {
            GeneralName::DNSName(text) if *text == id.as_str() => {}
            GeneralName::DNSName(_) => return Err(CsrRejection::SanMismatch),
            _ => return Err(CsrRejection::SanNotAllowed),
        }
    }
    if names.len() == 1 {
        Ok(())
    } else {
        Err(CsrRejection::SanMismatch)
    }
}
