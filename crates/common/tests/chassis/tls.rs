//! TLS: files that change, and clients with and without a certificate.

use std::path::Path;
use std::sync::Arc;

use common::chassis::server::{ClientAuthorities, Tls, TlsError, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::support::{Demo, Setup};

type Identity = (CertificateDer<'static>, PrivateKeyDer<'static>);

#[tokio::test]
async fn a_handler_sees_the_certificate_of_the_client() {
    let pki = Pki::new();
    let demo = pki.serve().await;
    let identity = pki.issue("pump-7");
    let length = identity.0.len();

    assert_eq!(
        pki.get_peer(&demo, Some(identity)).await.unwrap(),
        format!("{length} bytes")
    );
    assert_eq!(pki.get_peer(&demo, None).await.unwrap(), "nobody");
}

#[tokio::test]
async fn a_certificate_of_another_authority_ends_the_handshake() {
    let pki = Pki::new();
    let demo = pki.serve().await;
    let foreign = Pki::new().issue("pump-7");

    assert!(pki.get_peer(&demo, Some(foreign)).await.is_err());
}

#[tokio::test]
async fn a_client_that_shows_its_leaf_alone_gets_in_when_the_intermediate_is_known_and_leads_to_an_authority() {
    let (root, stranger) = (Pki::new(), Pki::new());
    let (between, foreign) = (root.below(), stranger.below());
    root.write_server_certificate();
    let intermediates = between.authority.pem() + &foreign.authority.pem();
    let demo = root.serve_for(&root.authority.pem(), &intermediates).await;
    let ignorant = root.serve_for(&root.authority.pem(), "").await;
    let (leaf, unknown, other) = (
        between.issue("pump-7"),
        between.issue("pump-7"),
        foreign.issue("pump-7"),
    );
    let length = leaf.0.len();

    assert_eq!(
        root.get_peer(&demo, Some(leaf)).await.unwrap(),
        format!("{length} bytes")
    );
    assert!(root.get_peer(&ignorant, Some(unknown)).await.is_err());
    assert!(root.get_peer(&demo, Some(other)).await.is_err());
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_left_to_the_routes() {
    let pki = Pki::new();
    let demo = pki.serve().await;
    let ended = pki.issue_until("pump-7", rcgen::date_time_ymd(2020, 1, 1));
    let length = ended.0.len();

    assert_eq!(
        pki.get_peer(&demo, Some(ended)).await.unwrap(),
        format!("{length} bytes")
    );
    let foreign = Pki::new().issue_until("pump-7", rcgen::date_time_ymd(2020, 1, 1));
    assert!(pki.get_peer(&demo, Some(foreign)).await.is_err());
}

#[tokio::test]
async fn before_the_authorities_are_known_only_clients_without_a_certificate_get_in() {
    let pki = Pki::new();
    pki.write_server_certificate();
    let demo = pki.serve_for("", "").await;

    assert!(pki.get_peer(&demo, Some(pki.issue("pump-7"))).await.is_err());
    assert_eq!(pki.get_peer(&demo, None).await.unwrap(), "nobody");
}

#[tokio::test]
async fn a_new_certificate_is_taken_from_the_files_and_a_broken_one_is_not() {
    let pki = Pki::new();
    pki.write_server_certificate();
    let tls = Tls::load(pki.files(), None).await.unwrap();
    assert!(!tls.reload().await.unwrap());

    pki.write_server_certificate();
    assert!(tls.reload().await.unwrap());
    assert!(!tls.reload().await.unwrap());

    std::fs::write(pki.files().key, "half a fi").unwrap();
    assert!(matches!(
        tls.reload().await,
        Err(TlsError::NotPem {
            expected: "private key",
            ..
        })
    ));
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let pki = Pki::new();
    pki.write_server_certificate();
    std::fs::write(pki.files().key, KeyPair::generate().unwrap().serialize_pem()).unwrap();

    assert!(matches!(Tls::load(pki.files(), None).await, Err(TlsError::Unusable(_))));
}

struct Pki {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        Self::of(CertifiedIssuer::self_signed(authority(), KeyPair::generate().unwrap()).unwrap())
    }

    /// An authority between this one and its leaves.
    fn below(&self) -> Self {
        let mut params = authority();
        params.distinguished_name.push(DnType::CommonName, "between");
        Self::of(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.authority).unwrap())
    }

    fn of(authority: CertifiedIssuer<'static, KeyPair>) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            authority,
        }
    }

    async fn serve(&self) -> Demo {
        self.write_server_certificate();
        self.serve_for(&self.authority.pem(), "").await
    }

    async fn serve_for(&self, authorities: &str, intermediates: &str) -> Demo {
        let clients = ClientAuthorities::unknown();
        if !authorities.is_empty() {
            clients.set(authorities, intermediates).unwrap();
        }
        let tls = Tls::load(self.files(), Some(Arc::new(clients))).await.unwrap();
        Demo::start_with(Setup {
            tls: Some(tls),
            ..Setup::default()
        })
        .await
    }

    fn files(&self) -> TlsFiles {
        let folder: &Path = self.folder.path();
        TlsFiles {
            certificate: folder.join("server.crt"),
            key: folder.join("server.key"),
        }
    }

    fn write_server_certificate(&self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.files().certificate, certificate.pem()).unwrap();
        std::fs::write(self.files().key, key.serialize_pem()).unwrap();
    }

    fn issue(&self, name: &str) -> Identity {
        self.issue_until(name, rcgen::date_time_ymd(2100, 1, 1))
    }

    fn issue_until(&self, name: &str, not_after: time::OffsetDateTime) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = not_after;
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (
            certificate.der().clone(),
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        roots
    }

    async fn get_peer(&self, demo: &Demo, identity: Option<Identity>) -> std::io::Result<String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = builder.with_root_certificates(self.roots());
        let config = match identity {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, demo.connect().await)
            .await?;
        stream
            .write_all(b"GET /peer HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.split("\r\n\r\n").nth(1).unwrap().to_owned())
    }
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
