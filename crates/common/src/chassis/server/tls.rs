//! TLS for a listener: certificate and key from files that may change, client certificates if wanted.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(30);

/// Where the certificate of a listener comes from.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The leaf and its intermediates, PEM.
    pub certificate: PathBuf,
    /// The private key of the leaf, PEM.
    pub key: PathBuf,
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("`{}` does not hold a PEM {expected}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// Certificate and key do not fit, or the client authorities are empty.
    #[error("the certificates cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// TLS 1.2 and 1.3 for [`serve`](super::serve); clones share the certificate.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<CurrentCertificate>,
}

impl Tls {
    /// Reads the files. `clients` decides about the certificates of clients; without it none is asked for.
    pub async fn load(files: TlsFiles, clients: Option<Arc<dyn ClientCertVerifier>>) -> Result<Self, TlsError> {
        let pair = PemPair::read(&files).await?;
        let certified = RwLock::new((Arc::new(pair.parse(&files)?), pair));
        let current = Arc::new(CurrentCertificate { files, certified });
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Unusable(error.into()))?;
        let builder = match clients {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            current,
        })
    }

    /// Takes the certificate that is in the files now. Returns whether it is another one; on an error the
    /// old one stays, for example while only one of the two files is written.
    pub async fn reload(&self) -> Result<bool, TlsError> {
        self.current.reload().await
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Reloads until `stop`.
    pub(super) async fn keep_fresh(self, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(RELOAD_EVERY))
            .await
            .is_some()
        {
            match self.reload().await {
                Ok(true) => tracing::info!("Took a new server certificate"),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(
                        error = crate::chassis::problem::error_chain(&error),
                        "Kept the old server certificate"
                    );
                }
            }
        }
    }
}

#[derive(Debug)]
struct CurrentCertificate {
    files: TlsFiles,
    certified: RwLock<(Arc<CertifiedKey>, PemPair)>,
}

impl CurrentCertificate {
    async fn reload(&self) -> Result<bool, TlsError> {
        let pair = PemPair::read(&self.files).await?;
        if self.certified.read().unwrap_or_else(PoisonError::into_inner).1 == pair {
            return Ok(false);
        }
        let fresh = Arc::new(pair.parse(&self.files)?);
        *self.certified.write().unwrap_or_else(PoisonError::into_inner) = (fresh, pair);
        Ok(true)
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.certified.read().unwrap_or_else(PoisonError::into_inner).0,
        ))
    }
}

/// The two files as they were read; comparing them is how a change is seen.
#[derive(PartialEq, Eq)]
struct PemPair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl std::fmt::Debug for PemPair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PemPair(…)")
    }
}

impl PemPair {
    async fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&files.certificate).await?,
            key: read(&files.key).await?,
        })
    }

    fn parse(&self, files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
        let not_pem = |path: &PathBuf, expected| TlsError::NotPem {
            path: path.clone(),
            expected,
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .ok()
            .filter(|chain: &Vec<_>| !chain.is_empty())
            .ok_or_else(|| not_pem(&files.certificate, "certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| not_pem(&files.key, "private key"))?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| TlsError::Unusable(error.into()))
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|source| TlsError::Unreadable {
        path: path.clone(),
        source,
    })
}
