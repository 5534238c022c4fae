//! TLS for machines whose clock may stand still while they are off.

use std::error::Error;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::{Clock as _, SystemClock, Timestamp};

/// A clock that is never earlier than a time which is known to be over.
#[derive(Debug)]
struct NotBefore(Timestamp);

impl TimeProvider for NotBefore {
    fn current_time(&self) -> Option<UnixTime> {
        let now = SystemClock.now().max(self.0).unix_timestamp();
        let since_epoch = u64::try_from(now).ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(since_epoch)))
    }
}

/// Believes these roots (PEM) and no others; `identity` is a chain and its key, PEM.
pub(super) fn tls(
    roots_pem: &[u8],
    not_before: Timestamp,
    identity: Option<&SecretString>,
) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots_pem) {
        roots.add(root?)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(NotBefore(not_before)))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let Some(identity) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let pem = identity.expose_secret().as_bytes();
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>()?;
    Ok(builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(pem)?)?)
}
