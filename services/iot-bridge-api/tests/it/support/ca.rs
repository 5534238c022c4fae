//! A certificate authority that can be away, or lie.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use common::domain::{CertificateIntent, Clock, Digest, System};
use iot_bridge_api::ports::{CertificateAuthority, SignedChain, UpstreamError};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use time::Duration;
use tokio::sync::Notify;

/// What the authority is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Good,
    Away,
    Refuses,
    SignsForAnother,
    SpeaksHtml,
    /// Takes the request and never answers.
    Silent,
}

pub(crate) struct TestCa {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    clock: Arc<dyn Clock>,
    pub(crate) mood: Mutex<Mood>,
    pub(crate) signed: AtomicUsize,
    pub(crate) revoked: Mutex<Vec<String>>,
    hesitates: AtomicBool,
    was_asked: Notify,
    goes_on: Notify,
    /// The key of its provisioner, where it plays step-ca.
    pub(crate) provisioner: EcdsaKeyPair,
}

impl TestCa {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = named(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            params
        };
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(authority("intermediate"), KeyPair::generate().unwrap(), &root).unwrap();
        Self {
            root,
            intermediate,
            clock,
            mood: Mutex::new(Mood::Good),
            signed: AtomicUsize::new(0),
            revoked: Mutex::default(),
            hesitates: AtomicBool::new(false),
            was_asked: Notify::new(),
            goes_on: Notify::new(),
            provisioner: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
        }
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Waits before it signs the next time.
    pub(crate) fn hesitates(&self) {
        self.hesitates.store(true, Ordering::Relaxed);
    }

    /// Waits until it hesitates, and goes on after something was done.
    pub(crate) async fn goes_on_after(&self, something: impl Future<Output = ()>) {
        self.was_asked.notified().await;
        something.await;
        self.goes_on.notify_one();
    }

    /// Is up to something, by the name that a table gives it.
    pub(crate) fn is_called(&self, name: &str) {
        let moods = [
            ("good", Mood::Good),
            ("away", Mood::Away),
            ("silent", Mood::Silent),
            ("refuses", Mood::Refuses),
            ("signs-for-another", Mood::SignsForAnother),
            ("speaks-html", Mood::SpeaksHtml),
        ];
        let named = moods.iter().find(|(known, _)| *known == name);
        self.is(named.expect("the table knows the moods of an authority").1);
    }

    /// Makes a device's certificate with its chain, whoever asks.
    pub(crate) fn certificate(&self, id: &str, key: &KeyPair) -> String {
        self.leaf(key, id) + &self.intermediate.pem()
    }

    pub(crate) fn intermediate_pem(&self) -> String {
        self.intermediate.pem()
    }

    /// The private key of the intermediate, which no device may use.
    pub(crate) fn intermediate_key(&self) -> &KeyPair {
        self.intermediate.key()
    }

    /// The private key of the provisioner, which no device may use.
    pub(crate) fn provisioner_key(&self) -> KeyPair {
        let pkcs8 = self.provisioner.to_pkcs8v1().unwrap();
        KeyPair::try_from(pkcs8.as_ref()).unwrap()
    }

    /// The private key of the root, which no device may use.
    pub(crate) fn root_key(&self) -> &KeyPair {
        self.root.key()
    }

    pub(crate) fn root_pem(&self) -> String {
        self.root.pem()
    }

    pub(crate) fn fingerprint(&self) -> Digest {
        Digest::of(self.root.der())
    }

    /// Makes a server's certificate with its chain, and its key.
    pub(crate) fn server_certificate(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        (
            params.signed_by(&key, &self.intermediate).unwrap().pem() + &self.intermediate.pem(),
            key.serialize_pem(),
        )
    }

    fn answer(&self) -> Result<Mood, UpstreamError> {
        match *self.mood.lock().unwrap() {
            Mood::Away => Err(UpstreamError::unavailable(
                System::CertificateAuthority,
                "the test took it away",
            )),
            Mood::Refuses => Err(UpstreamError::refused(System::CertificateAuthority, "the test said no")),
            mood @ (Mood::Good | Mood::SignsForAnother | Mood::SpeaksHtml | Mood::Silent) => Ok(mood),
        }
    }

    fn leaf(&self, public_key: &impl rcgen::PublicKeyData, name: &str) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        // Without one, rcgen makes it from the key, and a renewal may keep its key.
        params.serial_number = Some(uuid::Uuid::now_v7().as_bytes().to_vec().into());
        params.not_before = self.clock.now() - Duration::minutes(1);
        params.not_after = self.clock.now() + Duration::days(30);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(public_key, &self.intermediate).unwrap().pem()
    }
}

#[async_trait]
impl CertificateAuthority for TestCa {
    async fn sign(&self, intent: &CertificateIntent) -> Result<SignedChain, UpstreamError> {
        let mood = self.answer()?;
        if mood == Mood::Silent {
            std::future::pending::<()>().await;
        }
        if self.hesitates.swap(false, Ordering::Relaxed) {
            self.was_asked.notify_one();
            self.goes_on.notified().await;
        }
        self.signed.fetch_add(1, Ordering::Relaxed);
        let name = if mood == Mood::SignsForAnother {
            "someone-else"
        } else {
            intent.device_id.as_str()
        };
        let pem = match mood {
            Mood::SpeaksHtml => "<html>502 Bad Gateway</html>".to_owned(),
            Mood::Good | Mood::SignsForAnother | Mood::Away | Mood::Refuses | Mood::Silent => {
                self.leaf(&rcgen_csr(&intent.csr_der).public_key, name) + &self.intermediate.pem()
            }
        };
        Ok(SignedChain { pem })
    }

    async fn revoke(&self, serial: &str) -> Result<(), UpstreamError> {
        self.answer()?;
        self.revoked.lock().unwrap().push(serial.to_owned());
        Ok(())
    }

    async fn roots(&self) -> Result<String, UpstreamError> {
        Ok(self.root.pem())
    }

    async fn intermediates(&self) -> Result<String, UpstreamError> {
        Ok(self.intermediate.pem())
    }

    async fn own_keys(&self) -> Result<Vec<Digest>, UpstreamError> {
        self.answer()?;
        let own = self.root.pem() + &self.intermediate.pem();
        Ok(iot_bridge_api::app::certificate::key_digests(&own).unwrap())
    }

    async fn crl(&self) -> Result<Option<Vec<u8>>, UpstreamError> {
        self.answer().map(|_| None)
    }

    async fn health(&self) -> Result<(), UpstreamError> {
        self.answer().map(drop)
    }
}

fn rcgen_csr(der: &[u8]) -> CertificateSigningRequestParams {
    let pem = pem_rfc7468::encode_string("CERTIFICATE REQUEST", pem_rfc7468::LineEnding::LF, der).unwrap();
    CertificateSigningRequestParams::from_pem(&pem).unwrap()
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
