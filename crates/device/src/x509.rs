//! The little that a device has to know about X.509 (RFC 5280).

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer as _, X509Name};

/// Most certificates in one text; chains have two to four.
const MAX_CERTIFICATES: usize = 10;

/// Returns the CN of a name that has exactly one.
pub(crate) fn common_name<'a>(name: &'a X509Name<'_>) -> Option<&'a str> {
    let mut names = name.iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return None;
    };
    name.as_str().ok()
}

/// Reads a text that consists of certificates in PEM (RFC 7468) and nothing else; returns their DER.
pub(crate) fn certificates(pem: &str) -> Option<Vec<Vec<u8>>> {
    const END: &str = "-----END CERTIFICATE-----";
    let mut found = Vec::new();
    let mut rest = pem.trim_ascii();
    while !rest.is_empty() && found.len() < MAX_CERTIFICATES {
        let (body, after) = rest.split_once(END)?;
        let block = format!("{body}{END}\n");
        let (label, der) = pem_rfc7468::decode_vec(block.as_bytes()).ok()?;
        if label != "CERTIFICATE" {
            return None;
        }
        parse(&der)?;
        found.push(der);
        rest = after.trim_ascii();
    }
    (rest.is_empty() && !found.is_empty()).then_some(found)
}

/// Writes a certificate (DER) in PEM.
pub(crate) fn to_pem(der: &[u8]) -> String {
    pem_rfc7468::encode_string("CERTIFICATE", pem_rfc7468::LineEnding::LF, der).expect("what was read can be written")
}

/// Reads one certificate without trailing bytes.
pub(crate) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}
