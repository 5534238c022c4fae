//! The certificates of clients: asked for, never demanded.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::TlsError;

/// Asks clients for a certificate of these authorities, and lets those in that have none: who may do what is the
/// routes' business. A certificate of anybody else ends the handshake; one that has ended is let in, so that the
/// route can say so, and has to be refused there.
///
/// The authorities may become known, and change, while the listener runs; clones share them.
#[derive(Clone)]
pub struct ClientAuthorities {
    current: Arc<RwLock<Option<Known>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Whom to believe.
#[derive(Clone)]
struct Known {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Believed only as far as they lead to whom the verifier believes.
    intermediates: Vec<CertificateDer<'static>>,
}

impl ClientAuthorities {
    /// Believes nobody yet.
    pub fn unknown() -> Self {
        Self {
            current: Arc::default(),
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
        }
    }

    /// Believes these authorities, PEM, from now on and no others. The intermediates, PEM, stand in for those that a
    /// client leaves out: many show their leaf alone.
    pub fn set(&self, authorities: &str, intermediates: &str) -> Result<(), TlsError> {
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| TlsError::Unusable(error);
        let mut roots = RootCertStore::empty();
        for certificate in read(authorities)? {
            roots.add(certificate).map_err(|error| unusable(error.into()))?;
        }
        let intermediates = read(intermediates)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| unusable(error.into()))?;
        let known = Known {
            verifier,
            intermediates,
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
        Ok(())
    }
}

fn read(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Unusable(error.into()))
}

impl ClientCertVerifier for ClientAuthorities {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a client then sends what it has, and the authorities may change.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let known = current.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let (verifier, intermediates) = (known.verifier, [intermediates, &known.intermediates].concat());
        match verifier.verify_client_cert(leaf, &intermediates, now) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                let last_moment = not_after.as_secs().saturating_sub(1);
                let last_moment = UnixTime::since_unix_epoch(Duration::from_secs(last_moment));
                verifier.verify_client_cert(leaf, &intermediates, last_moment)
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientAuthorities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientAuthorities")
    }
}
