//! How devices reach a server.

use std::sync::Arc;

use reqwest::Client;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Over which connections devices come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Connections {
    /// Each makes one of its own and was never there before, as machines do that enroll.
    Own,
    /// All share those that are there, as no fleet does: what is left is the work behind the connection.
    Kept,
}

impl std::fmt::Display for Connections {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Own => "each over a connection of its own",
            Self::Kept => "over connections that are kept",
        })
    }
}

/// A client for each.
pub(crate) struct Clients {
    own: Client,
    kept: Client,
}

impl Clients {
    /// Believes one root (PEM).
    pub(crate) fn new(root_pem: &str) -> Self {
        let build = |idle, resumption| {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap())
                .unwrap();
            let provider = Arc::new(aws_lc_rs::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let mut tls = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
            tls.resumption = resumption;
            let client = Client::builder().tls_backend_preconfigured(tls).no_proxy();
            client.pool_max_idle_per_host(idle).build().unwrap()
        };
        Self {
            own: build(0, Resumption::disabled()),
            kept: build(usize::MAX, Resumption::default()),
        }
    }

    pub(crate) fn over(&self, connections: Connections) -> &Client {
        match connections {
            Connections::Own => &self.own,
            Connections::Kept => &self.kept,
        }
    }
}
