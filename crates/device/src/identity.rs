//! Who a device is: its certificate key, its WireGuard key and its certificate request.

use std::fmt;
use std::path::PathBuf;

use common::domain::{DeviceId, WireguardPrivateKey};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SanType,
};
use secrecy::{ExposeSecret as _, SecretString};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

use crate::enroll::Enrollment;
use crate::state::{StateDirectory, StateError};
use crate::x509;

/// The certificate key, PKCS #8 in PEM.
pub const KEY_FILE: &str = "key.pem";

/// The WireGuard private key, as `wg genkey` prints it.
pub const WIREGUARD_KEY_FILE: &str = "wireguard.key";

/// The certificate request. It is kept because a repeated enrollment has to send the same bytes, and an
/// ECDSA signature comes out differently each time.
const REQUEST_FILE: &str = "request.csr";

/// Why a device has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory holds the identity of another device; it is not thrown away.
    #[error("the state directory belongs to the device `{0}`")]
    OtherDevice(DeviceId),
    /// The directory holds no device.
    #[error("the state directory {} holds no device; enroll first", .0.display())]
    Missing(PathBuf),
    /// A file is missing or damaged. Nothing is made anew: the network knows the old key.
    #[error("the device's identity is damaged: {0} is missing or cannot be read")]
    Damaged(&'static str),
    /// The directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

/// A device's identity. The private keys never leave the device.
pub struct Identity {
    id: DeviceId,
    certificate_key: KeyPair,
    wireguard_key: WireguardPrivateKey,
    csr_pem: String,
}

impl Identity {
    /// Loads the identity, or makes it when there is none yet. Blocks on the disk.
    pub fn load_or_create(state: &StateDirectory, id: &DeviceId) -> Result<Self, IdentityError> {
        if state.read(REQUEST_FILE)?.is_none() && !Enrollment::is_stored(state)? {
            create(state, id)?;
        }
        let identity = Self::load(state)?;
        if identity.id == *id {
            Ok(identity)
        } else {
            Err(IdentityError::OtherDevice(identity.id))
        }
    }

    /// Loads an identity that was made before. Blocks on the disk.
    pub fn load(state: &StateDirectory) -> Result<Self, IdentityError> {
        if is_absent(state)? {
            return Err(IdentityError::Missing(state.path().to_owned()));
        }
        let certificate_key = parse_key(&required(state, KEY_FILE)?)?;
        let wireguard_key = parse_wireguard_key(&required(state, WIREGUARD_KEY_FILE)?)?;
        let csr_pem = required(state, REQUEST_FILE)?;
        let id = requested_id(&csr_pem, &certificate_key).ok_or(IdentityError::Damaged(REQUEST_FILE))?;
        Ok(Self {
            id,
            certificate_key,
            wireguard_key,
            csr_pem,
        })
    }

    /// Returns the device's name.
    pub fn id(&self) -> &DeviceId {
        &self.id
    }

    /// Returns the certificate request (PKCS #10) in PEM, the same bytes each time.
    pub fn csr_pem(&self) -> &str {
        &self.csr_pem
    }

    /// Returns the subject public key info of the certificate key, DER.
    pub fn public_key_der(&self) -> Vec<u8> {
        self.certificate_key.subject_public_key_info()
    }

    /// Returns a certificate chain with our key behind it, PEM: what proves who we are.
    pub(crate) fn with_chain(&self, chain: &str) -> SecretString {
        SecretString::from(format!("{chain}{}", self.certificate_key.serialize_pem()))
    }

    /// Returns the WireGuard key.
    pub fn wireguard_key(&self) -> &WireguardPrivateKey {
        &self.wireguard_key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Identity")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Whether a device never was here.
fn is_absent(state: &StateDirectory) -> Result<bool, StateError> {
    for file in [KEY_FILE, WIREGUARD_KEY_FILE, REQUEST_FILE] {
        if state.read(file)?.is_some() {
            return Ok(false);
        }
    }
    Ok(!Enrollment::is_stored(state)?)
}

/// Makes what is missing, the request last: where it is, all of it is. A power cut in between leaves keys
/// that nobody has seen, and they are used.
fn create(state: &StateDirectory, id: &DeviceId) -> Result<(), IdentityError> {
    if state.read(KEY_FILE)?.is_none() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("the operating system gives randomness");
        state.write(KEY_FILE, &key.serialize_pem())?;
    }
    if state.read(WIREGUARD_KEY_FILE)?.is_none() {
        let key = WireguardPrivateKey::generate().to_base64();
        state.write(WIREGUARD_KEY_FILE, &format!("{}\n", key.expose_secret()))?;
    }
    let certificate_key = parse_key(&required(state, KEY_FILE)?)?;
    Ok(state.write(REQUEST_FILE, &request(id, &certificate_key))?)
}

fn required(state: &StateDirectory, name: &'static str) -> Result<String, IdentityError> {
    state.read(name)?.ok_or(IdentityError::Damaged(name))
}

/// Writes a certificate request: the id is its CN and its only SAN, and it asks for nothing more.
fn request(id: &DeviceId, key: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id.as_str());
    let name = id.as_str().try_into().expect("a device id is ASCII");
    params.subject_alt_names = vec![SanType::DnsName(name)];
    let request = params
        .serialize_request(key)
        .expect("a CN and a DNS name can be written as a request");
    request.pem().expect("a request can be written as PEM")
}

fn parse_key(pem: &str) -> Result<KeyPair, IdentityError> {
    KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256).map_err(|_| IdentityError::Damaged(KEY_FILE))
}

fn parse_wireguard_key(text: &str) -> Result<WireguardPrivateKey, IdentityError> {
    WireguardPrivateKey::parse(text).map_err(|_| IdentityError::Damaged(WIREGUARD_KEY_FILE))
}

/// Returns the id that a request is for, if it is for this key.
fn requested_id(csr_pem: &str, key: &KeyPair) -> Option<DeviceId> {
    let (label, der) = pem_rfc7468::decode_vec(csr_pem.as_bytes()).ok()?;
    let (rest, request) = X509CertificationRequest::from_der(&der).ok()?;
    let info = &request.certification_request_info;
    if label != "CERTIFICATE REQUEST" || !rest.is_empty() || info.subject_pki.raw != key.subject_public_key_info() {
        return None;
    }
    DeviceId::parse(x509::common_name(&info.subject)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::temporary;

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    #[test]
    fn a_second_start_finds_the_same_identity() {
        let (_directory, state) = temporary();

        let first = Identity::load_or_create(&state, &id("pump-7")).unwrap();
        let second = Identity::load_or_create(&state, &id("pump-7")).unwrap();

        assert_eq!(second.csr_pem(), first.csr_pem());
        assert_eq!(second.public_key_der(), first.public_key_der());
        assert_eq!(second.wireguard_key().public_key(), first.wireguard_key().public_key());
    }

    #[test]
    fn the_request_names_the_device_and_nothing_else() {
        let (_directory, state) = temporary();

        let identity = Identity::load_or_create(&state, &id("pump-7")).unwrap();

        let (_, der) = pem_rfc7468::decode_vec(identity.csr_pem().as_bytes()).unwrap();
        let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
        request.verify_signature().unwrap();
        assert_eq!(request.certification_request_info.subject.to_string(), "CN=pump-7");
        let extensions: Vec<_> = request.requested_extensions().unwrap().collect();
        assert_eq!(extensions.len(), 1);
    }

    #[test]
    fn a_directory_of_another_device_is_left_alone() {
        let (_directory, state) = temporary();
        Identity::load_or_create(&state, &id("pump-7")).unwrap();

        let error = Identity::load_or_create(&state, &id("pump-8")).unwrap_err();

        assert!(matches!(error, IdentityError::OtherDevice(other) if other == id("pump-7")));
    }

    #[test]
    fn a_power_cut_between_the_files_is_made_good() {
        let (directory, state) = temporary();
        let first = Identity::load_or_create(&state, &id("pump-7")).unwrap();
        std::fs::remove_file(directory.path().join(REQUEST_FILE)).unwrap();
        std::fs::remove_file(directory.path().join(WIREGUARD_KEY_FILE)).unwrap();

        let second = Identity::load_or_create(&state, &id("pump-7")).unwrap();

        assert_eq!(second.public_key_der(), first.public_key_der());
    }

    #[test]
    fn a_lost_or_damaged_key_is_an_error_and_not_a_new_key() {
        for file in [KEY_FILE, WIREGUARD_KEY_FILE] {
            let (directory, state) = temporary();
            Identity::load_or_create(&state, &id("pump-7")).unwrap();

            state.write(file, "garbage").unwrap();
            let damaged = Identity::load_or_create(&state, &id("pump-7")).unwrap_err();
            std::fs::remove_file(directory.path().join(file)).unwrap();
            let lost = Identity::load_or_create(&state, &id("pump-7")).unwrap_err();

            assert!(
                matches!(damaged, IdentityError::Damaged(name) if name == file),
                "{damaged:?}"
            );
            assert!(matches!(lost, IdentityError::Damaged(name) if name == file), "{lost:?}");
        }
    }

    #[test]
    fn a_directory_without_a_device_is_not_called_damaged() {
        let (directory, state) = temporary();

        let error = Identity::load(&state).unwrap_err();

        assert!(
            matches!(&error, IdentityError::Missing(path) if path == directory.path()),
            "{error:?}"
        );
    }

    #[test]
    fn an_identity_is_not_printed() {
        let (_directory, state) = temporary();
        let identity = Identity::load_or_create(&state, &id("pump-7")).unwrap();

        assert_eq!(format!("{identity:?}"), r#"Identity { id: "pump-7", .. }"#);
    }
}
