//! A certificate authority in a folder: root → intermediate → leaf, made with rcgen.
//!
//! It stands where step-ca stands in production, behind the same port. Its keys lie in files of mode 0600; that is
//! good enough to try the system, and for nothing else.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::domain::{CertificateIntent, Clock, Digest, System, Timestamp};
use iot_bridge_api::app::certificate::key_digests;
use iot_bridge_api::ports::{CertificateAuthority, SignedChain, UpstreamError};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams,
    CertifiedIssuer, CrlDistributionPoint, CrlIssuingDistributionPoint, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls_pki_types::CertificateSigningRequestDer;
use time::Duration;

/// How long a device's certificate lives.
const LEAF_LIFETIME: Duration = Duration::days(30);
/// How long root and intermediate live.
const CA_LIFETIME: Duration = Duration::days(3650);
/// Certificates begin a little in the past, for devices whose clock is a little slow.
const BACKDATE: Duration = Duration::minutes(1);
/// How long a revocation list is good for.
const CRL_LIFETIME: Duration = Duration::hours(24);

/// The authority.
pub(crate) struct EmbeddedCa {
    root_pem: String,
    intermediate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    crl_url: String,
    revoked_file: PathBuf,
    revoked: Mutex<Vec<(String, Timestamp)>>,
    clock: Arc<dyn Clock>,
}

/// Why the authority cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmbeddedCaError {
    /// Its folder cannot be read or written.
    #[error("the certificate authority's folder cannot be used")]
    Folder(#[from] io::Error),
    /// What lies in the folder is not what was written.
    #[error("the certificate authority's files are damaged")]
    Files(#[from] rcgen::Error),
}

impl EmbeddedCa {
    /// Opens the authority in `folder`, and makes it there the first time. Its certificates name `crl_url` as the
    /// place of the revocation list.
    pub(crate) fn open(folder: &Path, crl_url: String, clock: Arc<dyn Clock>) -> Result<Self, EmbeddedCaError> {
        fs::create_dir_all(folder)?;
        if !folder.join("intermediate.pem").exists() {
            make(folder, clock.now())?;
        }
        let read = |name: &str| fs::read_to_string(folder.join(name));
        let intermediate_pem = read("intermediate.pem")?;
        let key = KeyPair::from_pem(&read("intermediate.key")?)?;
        let revoked_file = folder.join("revoked");
        Ok(Self {
            root_pem: read("root.pem")?,
            issuer: Issuer::from_ca_cert_pem(&intermediate_pem, key)?,
            intermediate_pem,
            crl_url,
            revoked: Mutex::new(read_revoked(&revoked_file)?),
            revoked_file,
            clock,
        })
    }

    fn leaf(&self, intent: &CertificateIntent) -> Result<String, rcgen::Error> {
        let csr = CertificateSigningRequestDer::from(intent.csr_der.as_slice());
        let request = CertificateSigningRequestParams::from_der(&csr)?;
        let now = self.clock.now();
        // Only the key is taken from the request; the names are ours.
        let mut params = CertificateParams::default();
        params.not_before = now - BACKDATE;
        params.not_after = now + LEAF_LIFETIME;
        params.serial_number = Some(random_serial());
        params.distinguished_name = named(intent.device_id.as_str());
        params.subject_alt_names = vec![SanType::DnsName(intent.device_id.as_str().try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.crl_distribution_points = vec![CrlDistributionPoint {
            uris: vec![self.crl_url.clone()],
        }];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&request.public_key, &self.issuer)?.pem())
    }

    fn revocation_list(&self) -> Result<Vec<u8>, rcgen::Error> {
        let now = self.clock.now();
        let revoked = self.revoked.lock().expect("nobody panics while holding the list");
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: now + CRL_LIFETIME,
            crl_number: SerialNumber::from(u64::try_from(now.unix_timestamp()).unwrap_or_default()),
            issuing_distribution_point: Some(CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint {
                    uris: vec![self.crl_url.clone()],
                },
                scope: None,
            }),
            revoked_certs: revoked.iter().map(revoked_entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(params.signed_by(&self.issuer)?.der().to_vec())
    }

    fn revoke_serial(&self, serial: &str) -> io::Result<()> {
        let mut revoked = self.revoked.lock().expect("nobody panics while holding the list");
        if revoked.iter().any(|(known, _)| known == serial) {
            return Ok(());
        }
        let now = self.clock.now();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.revoked_file)?;
        writeln!(file, "{serial} {}", now.unix_timestamp())?;
        file.sync_all()?;
        revoked.push((serial.to_owned(), now));
        Ok(())
    }
}

impl std::fmt::Debug for EmbeddedCa {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EmbeddedCa")
            .field("crl_url", &self.crl_url)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CertificateAuthority for EmbeddedCa {
    async fn sign(&self, intent: &CertificateIntent) -> Result<SignedChain, UpstreamError> {
        let leaf = self
            .leaf(intent)
            .map_err(|error| UpstreamError::refused(System::CertificateAuthority, error))?;
        Ok(SignedChain {
            pem: leaf + &self.intermediate_pem,
        })
    }

    async fn revoke(&self, serial: &str) -> Result<(), UpstreamError> {
        self.revoke_serial(serial)
            .map_err(|error| UpstreamError::unavailable(System::CertificateAuthority, error))
    }

    async fn roots(&self) -> Result<String, UpstreamError> {
        Ok(self.root_pem.clone())
    }

    async fn intermediates(&self) -> Result<String, UpstreamError> {
        Ok(self.intermediate_pem.clone())
    }

    async fn own_keys(&self) -> Result<Vec<Digest>, UpstreamError> {
        key_digests(&format!("{}{}", self.root_pem, self.intermediate_pem))
            .map_err(|error| UpstreamError::unexpected(System::CertificateAuthority, error))
    }

    async fn crl(&self) -> Result<Option<Vec<u8>>, UpstreamError> {
        let list = self.revocation_list();
        list.map(Some)
            .map_err(|error| UpstreamError::unexpected(System::CertificateAuthority, error))
    }

    async fn health(&self) -> Result<(), UpstreamError> {
        Ok(())
    }
}

/// Makes root and intermediate; the intermediate's certificate is written last, so that a folder that has it is whole.
fn make(folder: &Path, now: Timestamp) -> Result<(), EmbeddedCaError> {
    let authority = |name: &str, path_length| {
        let mut params = CertificateParams::default();
        params.not_before = now - BACKDATE;
        params.not_after = now + CA_LIFETIME;
        params.serial_number = Some(random_serial());
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    };
    let root = CertifiedIssuer::self_signed(authority("iot-bridge quickstart root", 1), KeyPair::generate()?)?;
    let mut params = authority("iot-bridge quickstart devices", 0);
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let intermediate = params.signed_by(&key, &root)?;
    write_private(&folder.join("root.key"), &root.key().serialize_pem())?;
    write_private(&folder.join("root.pem"), &root.pem())?;
    write_private(&folder.join("intermediate.key"), &key.serialize_pem())?;
    write_private(&folder.join("intermediate.pem"), &intermediate.pem())?;
    Ok(())
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// 127 random bits, positive and of constant length (RFC 5280 §4.1.2.2).
fn random_serial() -> SerialNumber {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn read_revoked(path: &Path) -> io::Result<Vec<(String, Timestamp)>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let parse = |line: &str| {
        let (serial, seconds) = line.split_once(' ')?;
        Some((
            serial.to_owned(),
            Timestamp::from_unix_timestamp(seconds.parse().ok()?).ok()?,
        ))
    };
    Ok(text.lines().filter_map(parse).collect())
}

fn revoked_entry((serial, at): &(String, Timestamp)) -> RevokedCertParams {
    let digits = if serial.len() % 2 == 0 {
        serial.clone()
    } else {
        format!("0{serial}")
    };
    let bytes: Vec<u8> = digits
        .as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(&bytes),
        revocation_time: *at,
        reason_code: Some(RevocationReason::CessationOfOperation),
        invalidity_date: None,
    }
}
