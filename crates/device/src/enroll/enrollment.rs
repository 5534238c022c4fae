//! What a device got by enrolling, after it was checked.

use std::net::Ipv4Addr;

use common::domain::{DeviceId, Timestamp, WireguardPrivateKey};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use wireguard::quick::WgQuickConfig;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::roots;
use super::trust::ServerTrust;
use crate::clock;
use crate::identity::{Identity, IdentityError};
use crate::state::{StateDirectory, StateError};
use crate::x509;

/// The whole answer, in one file, so that it is there or not; the other files are made from it.
const ENROLLMENT_FILE: &str = "enrollment.json";

/// The certificate with its intermediates, PEM: for the MQTT client and others.
pub(crate) const CERTIFICATE_FILE: &str = "certificate.pem";

/// Intermediates and root, PEM, and the authority's other roots while one takes the place of another.
const CA_FILE: &str = "ca.pem";

/// For `wg-quick up`, with the private key in it.
const WIREGUARD_FILE: &str = "wg0.conf";

/// The answer is not believed, and nothing of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bridge's answer is not believed: {0}")]
pub struct BadAnswer(&'static str);

/// What the bridge answers, and what is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    device_id: DeviceId,
    certificate: String,
    certificate_chain: String,
    ca_chain: String,
    #[serde(with = "time::serde::rfc3339")]
    not_after: Timestamp,
    wireguard_ip: Ipv4Addr,
    wireguard_config: String,
    #[serde(with = "time::serde::rfc3339")]
    server_time: Timestamp,
}

/// A device's place in the network: certificate, address and hub. It exists only checked.
#[derive(Debug)]
pub struct Enrollment {
    answer: Answer,
    network: WgQuickConfig,
}

/// What the bridge answers to a renewal.
#[derive(Deserialize)]
struct Renewed {
    device_id: DeviceId,
    certificate: String,
    certificate_chain: String,
    ca_chain: String,
    #[serde(with = "time::serde::rfc3339")]
    not_after: Timestamp,
    #[serde(with = "time::serde::rfc3339")]
    server_time: Timestamp,
}

impl Enrollment {
    /// The next certificate, until it was used: the whole of what then takes the place of the enrollment.
    pub(crate) const NEXT_FILE: &str = "renewal.json";

    /// Checks an answer: the certificate is for our key and our name and leads to the root that came
    /// with it, and the tunnel configuration says nothing but how to reach the hub.
    pub fn check(json: &[u8], identity: &Identity) -> Result<Self, BadAnswer> {
        let answer: Answer = serde_json::from_slice(json).map_err(|_| BadAnswer("it has not the expected form"))?;
        if answer.device_id != *identity.id() {
            return Err(BadAnswer("it is for another device"));
        }
        check_certificates(&answer, identity)?;
        let network = WgQuickConfig::parse(&answer.wireguard_config)
            .map_err(|_| BadAnswer("its tunnel configuration has more or less than how to reach the hub"))?;
        if network.private_key.is_some() {
            return Err(BadAnswer("its tunnel configuration has a private key that is not ours"));
        }
        if network.address != answer.wireguard_ip || network.address == network.hub_address {
            return Err(BadAnswer("its addresses contradict each other"));
        }
        Ok(Self { answer, network })
    }

    /// Checks that the root which came with the certificate is one that the device was told to believe before.
    pub(crate) fn check_root(&self, trust: &ServerTrust) -> Result<(), BadAnswer> {
        let authorities = x509::certificates(&self.answer.ca_chain).unwrap_or_default();
        if authorities.last().is_some_and(|root| trust.vouches_for(root)) {
            Ok(())
        } else {
            Err(BadAnswer("its root is not the one that the device was told to believe"))
        }
    }

    /// Whether a device with this state has ever enrolled. Blocks on the disk.
    pub(crate) fn is_stored(state: &StateDirectory) -> Result<bool, StateError> {
        Ok(state.read(ENROLLMENT_FILE)?.is_some())
    }

    /// Loads and checks what was stored; nothing if the device has not enrolled yet. Blocks on the disk.
    pub fn load(state: &StateDirectory, identity: &Identity) -> Result<Option<Self>, IdentityError> {
        let Some(json) = state.read(ENROLLMENT_FILE)? else {
            return Ok(None);
        };
        match Self::check(json.as_bytes(), identity) {
            Ok(enrollment) => Ok(Some(enrollment)),
            Err(_bad) => Err(IdentityError::Damaged(ENROLLMENT_FILE)),
        }
    }

    /// Loads what a renewal stored that was not completed. Blocks on the disk.
    pub(crate) fn load_next(state: &StateDirectory, identity: &Identity) -> Result<Option<Self>, StateError> {
        let json = state.read(Self::NEXT_FILE)?;
        // Damaged, it is asked for again: the current certificate is still there.
        Ok(json.and_then(|json| Self::check(json.as_bytes(), identity).ok()))
    }

    /// Checks the answer to a renewal as that to an enrollment: the certificate is another, the place is the same.
    pub(crate) fn with_certificate(&self, json: &[u8], identity: &Identity) -> Result<Self, BadAnswer> {
        let renewed: Renewed = serde_json::from_slice(json).map_err(|_| BadAnswer("it has not the expected form"))?;
        let answer = Answer {
            device_id: renewed.device_id,
            certificate: renewed.certificate,
            certificate_chain: renewed.certificate_chain,
            ca_chain: renewed.ca_chain,
            not_after: renewed.not_after,
            server_time: renewed.server_time,
            wireguard_ip: self.answer.wireguard_ip,
            wireguard_config: self.answer.wireguard_config.clone(),
        };
        Self::check(answer.to_json().as_bytes(), identity)
    }

    /// Stores it beside the present one. Blocks on the disk.
    pub(crate) fn store_next(&self, state: &StateDirectory) -> Result<(), StateError> {
        state.write(Self::NEXT_FILE, &self.answer.to_json())
    }

    /// Stores it for good, and writes the files for other programs. Blocks on the disk.
    pub fn store(&self, state: &StateDirectory, identity: &Identity) -> Result<(), StateError> {
        state.write(ENROLLMENT_FILE, &self.answer.to_json())?;
        clock::remember(state, self.server_time())?;
        self.write_copies(state, identity)
    }

    /// Writes the files for other programs again where they differ, as a power cut may have left them.
    pub(crate) fn write_copies(&self, state: &StateDirectory, identity: &Identity) -> Result<(), StateError> {
        let private_key = Some(copy_of(identity.wireguard_key()));
        let wireguard = WgQuickConfig {
            private_key,
            hub_endpoint: self.network.hub_endpoint.clone(),
            ..self.network
        };
        let copies = [
            (CERTIFICATE_FILE, self.answer.certificate_chain.clone()),
            (WIREGUARD_FILE, wireguard.render()),
        ];
        for (name, content) in copies {
            state.write_if_other(name, &content)?;
        }
        self.write_authorities(state)
    }

    /// Writes the file of those whom other programs may believe again where it differs. Blocks on the disk.
    pub(crate) fn write_authorities(&self, state: &StateDirectory) -> Result<(), StateError> {
        state.write_if_other(CA_FILE, &roots::with_known(state, &self.answer.ca_chain)?)
    }

    /// Returns the device's address in the network.
    pub fn address(&self) -> Ipv4Addr {
        self.network.address
    }

    /// Returns how to reach the hub.
    pub fn network(&self) -> &WgQuickConfig {
        &self.network
    }

    /// Returns the certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.answer.certificate
    }

    /// Returns the certificate with its intermediates, PEM.
    pub fn certificate_chain_pem(&self) -> &str {
        &self.answer.certificate_chain
    }

    /// Returns what proves that a server is the bridge: the root that the enrollment was believed for, and those that
    /// the bridge named since. Blocks on the disk.
    pub(crate) fn server_trust(&self, state: &StateDirectory) -> Result<ServerTrust, StateError> {
        let root = self.answer.ca_chain.rfind("-----BEGIN CERTIFICATE-----");
        let root = root.and_then(|start| self.answer.ca_chain.get(start..));
        roots::with_known(state, root.unwrap_or_default()).map(ServerTrust::Roots)
    }

    /// Returns when the certificate begins.
    pub fn not_before(&self) -> Timestamp {
        let leaf = x509::certificates(&self.answer.certificate).and_then(|mut leaf| leaf.pop());
        let begin = leaf.and_then(|der| x509::parse(&der).map(|leaf| leaf.validity().not_before.to_datetime()));
        begin.expect("the certificate was read before")
    }

    /// Returns the bridge's time when it answered.
    pub(crate) fn server_time(&self) -> Timestamp {
        self.answer.server_time
    }

    /// Returns when the certificate ends.
    pub fn not_after(&self) -> Timestamp {
        self.answer.not_after
    }
}

impl Answer {
    fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers can be written as JSON")
    }
}

pub(crate) fn copy_of(key: &WireguardPrivateKey) -> WireguardPrivateKey {
    WireguardPrivateKey::parse(key.to_base64().expose_secret()).expect("a key survives its text form")
}

fn check_certificates(answer: &Answer, identity: &Identity) -> Result<(), BadAnswer> {
    let read = |pem: &str| x509::certificates(pem).ok_or(BadAnswer("its certificates cannot be read"));
    let (leaf, chain, authorities) = (
        read(&answer.certificate)?,
        read(&answer.certificate_chain)?,
        read(&answer.ca_chain)?,
    );
    let expected_chain = leaf.iter().chain(authorities.iter().take(authorities.len() - 1));
    if leaf.len() != 1 || !chain.iter().eq(expected_chain) {
        return Err(BadAnswer("its certificate chains contradict each other"));
    }
    let path: Vec<_> = leaf
        .iter()
        .chain(&authorities)
        .filter_map(|der| x509::parse(der))
        .collect();
    let leaf = path.first().expect("certificates that were read can be parsed");
    check_leaf(leaf, answer, identity)?;
    if leads_to_a_root(&path) {
        Ok(())
    } else {
        Err(BadAnswer("its certificate chain is broken"))
    }
}

fn check_leaf(leaf: &X509Certificate<'_>, answer: &Answer, identity: &Identity) -> Result<(), BadAnswer> {
    let id = identity.id().as_str();
    if leaf.public_key().raw != identity.public_key_der() {
        return Err(BadAnswer("its certificate is for another key"));
    }
    let names = leaf
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|extension| &extension.value.general_names);
    let only_our_name =
        names.is_some_and(|names| matches!(names.as_slice(), [GeneralName::DNSName(name)] if *name == id));
    if x509::common_name(leaf.subject()) != Some(id) || !only_our_name {
        return Err(BadAnswer("its certificate is for another name"));
    }
    let usage = leaf.extended_key_usage().ok().flatten();
    if leaf.is_ca() || !usage.is_some_and(|usage| usage.value.client_auth) {
        return Err(BadAnswer("its certificate is not one for a client"));
    }
    let validity = leaf.validity();
    let valid = validity.not_before.to_datetime()..validity.not_after.to_datetime();
    if !valid.contains(&answer.server_time) || validity.not_after.timestamp() != answer.not_after.unix_timestamp() {
        return Err(BadAnswer("its certificate is not valid at the server's own time"));
    }
    Ok(())
}

/// Whether each certificate is signed by the next, and the last by itself (RFC 5280 §6.1).
fn leads_to_a_root(path: &[X509Certificate<'_>]) -> bool {
    let issuers = path.iter().skip(1).chain(path.last());
    path.len() > 1
        && path.iter().zip(issuers).all(|(certificate, issuer)| {
            certificate.issuer().as_raw() == issuer.subject().as_raw()
                && issuer.is_ca()
                && certificate.verify_signature(Some(issuer.public_key())).is_ok()
        })
}
