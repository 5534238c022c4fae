//! A device with its keys and its request.

use common::domain::{WireguardKey, WireguardPrivateKey};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};

pub(crate) struct TestDevice {
    pub(crate) csr: String,
    pub(crate) wireguard_key: WireguardKey,
}

impl TestDevice {
    pub(crate) fn new(id: &str) -> Self {
        Self::with_key(id, &KeyPair::generate().unwrap())
    }

    pub(crate) fn with_key(id: &str, key: &KeyPair) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id);
        let csr = params.serialize_request(key).unwrap().pem().unwrap();
        Self {
            csr,
            wireguard_key: wireguard_key(),
        }
    }

    /// What the device posts.
    pub(crate) fn request(&self) -> Value {
        json!({ "csr": self.csr, "wg_public_key": self.wireguard_key })
    }
}

pub(crate) fn wireguard_key() -> WireguardKey {
    WireguardPrivateKey::generate().public_key()
}
