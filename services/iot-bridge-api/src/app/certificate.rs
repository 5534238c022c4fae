//! Whether a certificate that came back is the one that was asked for. Nothing an authority answers is believed
//! before this says so.
//!
//! The profile is RFC 5280's, as strict as a device's leaf can be: one name, client authentication, no authority.

use std::sync::{Arc, Mutex, PoisonError};

use common::domain::{CertificateIntent, DeviceId, Digest, IssuedCertificate, Timestamp};
use pem_rfc7468::LineEnding;
use time::{Duration, OffsetDateTime};
use x509_parser::certificate::{Validity, X509Certificate};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_COMMON_NAME;
use x509_parser::prelude::FromDer;

use crate::ports::SignedChain;

const LABEL: &str = "CERTIFICATE";
/// How far an authority's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::minutes(5);
/// Longest lifetime that is believed; step-ca gives 24 hours if nobody says otherwise.
pub const MAX_LIFETIME: Duration = Duration::days(366);
/// Longest chain between leaf and root.
const MAX_INTERMEDIATES: usize = 4;
/// Longest serial number, in bytes (RFC 5280 §4.1.2.2).
const MAX_SERIAL_LENGTH: usize = 20;

/// What is wrong with a certificate; an alarm, for the log only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not the one that was asked for: {0}")]
pub struct BadCertificate(&'static str);

/// Believes chains, and remembers the last issuers: they are the same for every device, so they are looked at once.
/// Their time, and everything about the leaf, is looked at each time.
#[derive(Debug, Default)]
pub struct Believer {
    last: Mutex<Option<Arc<Issuers>>>,
}

/// Issuers that belong together, the first one's issuer after it, up to a root.
#[derive(Debug)]
struct Issuers {
    /// DER.
    intermediates: Vec<Vec<u8>>,
    /// The roots among which theirs is, PEM.
    roots_pem: String,
    /// All of them, their root included, PEM.
    chain_pem: String,
    validity: Vec<Validity>,
}

impl Believer {
    /// Believes a chain that was signed for this intent, or says what is wrong with it. `roots_pem` are the pinned
    /// roots.
    pub fn verify(
        &self,
        intent: &CertificateIntent,
        chain: &SignedChain,
        roots_pem: &str,
        now: Timestamp,
    ) -> Result<IssuedCertificate, BadCertificate> {
        let chain = decode_pem(&chain.pem)?;
        let Some((leaf_der, intermediates)) = chain.split_first() else {
            return Err(BadCertificate("there is none"));
        };
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(BadCertificate("the chain is too long"));
        }
        let leaf = parse(leaf_der)?;
        check_leaf(&leaf, intent, now)?;
        Ok(IssuedCertificate {
            serial: serial_hex(&leaf)?,
            leaf_pem: encode_pem(leaf_der),
            ca_chain_pem: self.check_chain(&leaf, intermediates, roots_pem, now)?,
            intermediates: u8::try_from(intermediates.len()).expect("there are at most four"),
            not_before: timestamp(leaf.validity().not_before.timestamp())?,
            not_after: timestamp(leaf.validity().not_after.timestamp())?,
        })
    }

    /// Follows the chain up and returns the issuers up to the root at its end, PEM.
    fn check_chain(
        &self,
        leaf: &X509Certificate<'_>,
        intermediates: &[Vec<u8>],
        roots_pem: &str,
        now: Timestamp,
    ) -> Result<String, BadCertificate> {
        let Some(first) = intermediates.first() else {
            let root = find_root(leaf, &decode_pem(roots_pem)?, now)?;
            return Ok(encode_pem(&root));
        };
        let first = parse(first)?;
        check_issuer(leaf, &first, now)?;
        check_signature(leaf, &first)?;
        let issuers = match self.known(intermediates, roots_pem) {
            Some(issuers) => issuers,
            None => self.remember(Issuers::check(intermediates, roots_pem, now)?),
        };
        issuers
            .validity
            .iter()
            .try_for_each(|validity| check_validity(validity, now))?;
        Ok(issuers.chain_pem.clone())
    }

    fn known(&self, intermediates: &[Vec<u8>], roots_pem: &str) -> Option<Arc<Issuers>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |known: &&Arc<Issuers>| known.intermediates == intermediates && known.roots_pem == roots_pem;
        last.as_ref().filter(is_same).cloned()
    }

    fn remember(&self, issuers: Issuers) -> Arc<Issuers> {
        let issuers = Arc::new(issuers);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&issuers));
        issuers
    }
}

impl Issuers {
    /// Follows intermediates, of which there is one at least, up to one of the roots.
    fn check(intermediates: &[Vec<u8>], roots_pem: &str, now: Timestamp) -> Result<Self, BadCertificate> {
        let mut parsed = Vec::with_capacity(intermediates.len() + 1);
        for der in intermediates {
            parsed.push(parse(der)?);
        }
        for (child, issuer) in parsed.iter().zip(parsed.iter().skip(1)) {
            check_issuer(child, issuer, now)?;
            check_signature(child, issuer)?;
        }
        let last = parsed.last().ok_or(BadCertificate("there is no issuer"))?;
        let root = find_root(last, &decode_pem(roots_pem)?, now)?;
        parsed.push(parse(&root)?);
        Ok(Self {
            intermediates: intermediates.to_vec(),
            roots_pem: roots_pem.to_owned(),
            chain_pem: intermediates.iter().chain([&root]).map(|der| encode_pem(der)).collect(),
            validity: parsed.iter().map(|issuer| issuer.validity().clone()).collect(),
        })
    }
}

/// Returns the root that signed a certificate, DER.
fn find_root(child: &X509Certificate<'_>, roots: &[Vec<u8>], now: Timestamp) -> Result<Vec<u8>, BadCertificate> {
    for der in roots {
        let root = parse(der)?;
        if check_issuer(child, &root, now).is_ok() && check_signature(child, &root).is_ok() {
            return Ok(der.clone());
        }
    }
    Err(BadCertificate("its chain does not end at a pinned root"))
}

/// Returns those of an authority's intermediates, PEM, that lead to one of its roots.
pub fn intermediates(candidates_pem: &str, roots_pem: &str, now: Timestamp) -> Result<String, BadCertificate> {
    let (mut believed, mut candidates) = (decode_pem(roots_pem)?, decode_pem(candidates_pem)?);
    let roots = believed.len();
    while let Some(index) = candidates.iter().position(|der| is_issued_by(&believed, der, now)) {
        believed.push(candidates.remove(index));
    }
    Ok(believed.iter().skip(roots).map(|der| encode_pem(der)).collect())
}

fn is_issued_by(issuers: &[Vec<u8>], der: &[u8], now: Timestamp) -> bool {
    parse(der).is_ok_and(|child| find_root(&child, issuers, now).is_ok())
}

/// Returns the key digests of certificates in PEM: keys that no device may have.
pub fn key_digests(pem: &str) -> Result<Vec<Digest>, BadCertificate> {
    decode_pem(pem)?
        .iter()
        .map(|der| parse(der).map(|parsed| Digest::of(parsed.public_key().raw)))
        .collect()
}

/// Returns the device that a certificate (DER) is for: its only common name.
pub fn device_id(leaf: &[u8]) -> Option<DeviceId> {
    let leaf = parse(leaf).ok()?;
    let mut names = leaf.subject().iter_common_name();
    let (Some(name), None) = (names.next(), names.next()) else {
        return None;
    };
    DeviceId::parse(name.as_str().ok()?).ok()
}

/// Whether a PEM block is this certificate (DER), to the last byte.
pub fn is_same(pem: &str, der: &[u8]) -> bool {
    decode_pem(pem).is_ok_and(|blocks| blocks == [der])
}

/// Returns the DER of certificates in PEM.
pub fn to_der(pem: &str) -> Result<Vec<Vec<u8>>, BadCertificate> {
    decode_pem(pem)
}

fn check_leaf(leaf: &X509Certificate<'_>, intent: &CertificateIntent, now: Timestamp) -> Result<(), BadCertificate> {
    if Digest::of(leaf.public_key().raw) != intent.key_digest {
        return Err(BadCertificate("it is for another key"));
    }
    check_subject(leaf, &intent.device_id)?;
    check_extensions(leaf, &intent.device_id)?;
    let validity = leaf.validity();
    check_validity(validity, now)?;
    if validity.not_after.timestamp() - validity.not_before.timestamp() > MAX_LIFETIME.whole_seconds() {
        return Err(BadCertificate("it lives too long"));
    }
    Ok(())
}

fn check_subject(leaf: &X509Certificate<'_>, id: &DeviceId) -> Result<(), BadCertificate> {
    let mut attributes = leaf.subject().iter_attributes();
    match (attributes.next(), attributes.next()) {
        (Some(name), None)
            if *name.attr_type() == OID_X509_COMMON_NAME && name.as_slice() == id.as_str().as_bytes() =>
        {
            Ok(())
        }
        _ => Err(BadCertificate("its subject is not the device id alone")),
    }
}

fn check_extensions(leaf: &X509Certificate<'_>, id: &DeviceId) -> Result<(), BadCertificate> {
    let names = leaf
        .subject_alternative_name()
        .map_err(|_| BadCertificate("its names cannot be read"))?;
    match names.map(|names| names.value.general_names.as_slice()) {
        Some([GeneralName::DNSName(name)]) if *name == id.as_str() => {}
        _ => return Err(BadCertificate("its alternative names are not the device id alone")),
    }
    if leaf
        .basic_constraints()
        .map_err(|_| BadCertificate("its constraints cannot be read"))?
        .is_some_and(|it| it.value.ca)
    {
        return Err(BadCertificate("it is an authority"));
    }
    let usage = leaf
        .extended_key_usage()
        .map_err(|_| BadCertificate("its extended key usage cannot be read"))?;
    let usage = usage.ok_or(BadCertificate("it has no extended key usage"))?.value;
    let others = usage.any
        || usage.server_auth
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    if !usage.client_auth || others {
        return Err(BadCertificate("its extended key usage is not clientAuth alone"));
    }
    let usage = leaf
        .key_usage()
        .map_err(|_| BadCertificate("its key usage cannot be read"))?;
    if usage.is_some_and(|it| !it.value.digital_signature() || it.value.key_cert_sign() || it.value.crl_sign()) {
        return Err(BadCertificate("its key usage is not a device's"));
    }
    if leaf
        .extensions()
        .iter()
        .any(|extension| extension.critical && is_unknown(extension.parsed_extension()))
    {
        return Err(BadCertificate("it has an unknown critical extension"));
    }
    Ok(())
}

fn is_unknown(extension: &ParsedExtension<'_>) -> bool {
    !matches!(
        extension,
        ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
    )
}

/// Checks everything but the signature.
fn check_issuer(
    child: &X509Certificate<'_>,
    issuer: &X509Certificate<'_>,
    now: Timestamp,
) -> Result<(), BadCertificate> {
    check_validity(issuer.validity(), now)?;
    let is_authority = issuer.basic_constraints().ok().flatten().is_some_and(|it| it.value.ca);
    let may_sign = issuer
        .key_usage()
        .is_ok_and(|usage| usage.is_none_or(|it| it.value.key_cert_sign()));
    if !is_authority || !may_sign {
        return Err(BadCertificate("an issuer of the chain is no authority"));
    }
    if child.issuer().as_raw() != issuer.subject().as_raw() {
        return Err(BadCertificate("the chain is not in order"));
    }
    Ok(())
}

fn check_signature(child: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Result<(), BadCertificate> {
    child
        .verify_signature(Some(issuer.public_key()))
        .map_err(|_| BadCertificate("a signature of the chain is wrong"))
}

fn check_validity(validity: &Validity, now: Timestamp) -> Result<(), BadCertificate> {
    if validity.not_before.timestamp() > (now + CLOCK_SKEW).unix_timestamp() {
        return Err(BadCertificate("it is not valid yet"));
    }
    if validity.not_after.timestamp() <= now.unix_timestamp() {
        return Err(BadCertificate("it has expired"));
    }
    Ok(())
}

fn serial_hex(leaf: &X509Certificate<'_>) -> Result<String, BadCertificate> {
    let serial = &leaf.tbs_certificate.serial;
    if serial.bits() == 0 || leaf.raw_serial().len() > MAX_SERIAL_LENGTH || leaf.raw_serial().first() >= Some(&0x80) {
        return Err(BadCertificate(
            "its serial number is not a positive number of at most 20 bytes",
        ));
    }
    Ok(format!("{serial:x}"))
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, BadCertificate> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(BadCertificate("it is not X.509 in DER")),
    }
}

/// Reads PEM blocks that follow each other with nothing but line breaks between.
fn decode_pem(pem: &str) -> Result<Vec<Vec<u8>>, BadCertificate> {
    const END: &str = "-----END CERTIFICATE-----";
    let mut rest = pem.trim();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let (body, after) = rest.split_once(END).ok_or(BadCertificate("it is not PEM"))?;
        let block = format!("{body}{END}");
        if !block.starts_with("-----BEGIN ") {
            return Err(BadCertificate("it is not PEM"));
        }
        let (label, der) = pem_rfc7468::decode_vec(block.as_bytes()).map_err(|_| BadCertificate("it is not PEM"))?;
        if label != LABEL {
            return Err(BadCertificate("it is not a certificate"));
        }
        blocks.push(der);
        rest = after.trim_start();
    }
    Ok(blocks)
}

fn encode_pem(der: &[u8]) -> String {
    pem_rfc7468::encode_string(LABEL, LineEnding::LF, der).expect("a certificate is shorter than a PEM block may be")
}

fn timestamp(seconds: i64) -> Result<Timestamp, BadCertificate> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| BadCertificate("its validity is not a time"))
}

#[cfg(test)]
mod tests;
