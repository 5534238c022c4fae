//! The one way to make an HTTP client: with deadlines, without redirects, without surprises.

mod late_clock;

use std::time::Duration;

use axum::body::Bytes;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, Response};
use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::Timestamp;

/// How a client is built.
#[derive(Debug, Clone)]
pub struct HttpClientOptions {
    /// From the first packet to the established connection, TLS included.
    pub connect_timeout: Duration,
    /// From the call to the last byte of the answer.
    pub total_timeout: Duration,
    /// Whom to believe.
    pub trust: Trust,
    /// What proves who we are where a server asks: certificate, intermediates and private key, PEM.
    pub identity: Option<SecretString>,
}

/// The certificates that a client believes.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// The machine's certificate authorities.
    #[default]
    System,
    /// The machine's and these, in PEM (one or more).
    SystemAnd(Vec<u8>),
    /// These and no others, in PEM: for a private authority such as step-ca.
    Only(Vec<u8>),
    /// The same, by a machine whose clock may be late: certificates are checked at this time when it is later than
    /// what the clock says.
    OnlyNotBefore(Vec<u8>, Timestamp),
}

impl Default for HttpClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            total_timeout: Duration::from_secs(10),
            trust: Trust::default(),
            identity: None,
        }
    }
}

/// The client cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be built: its certificate authorities or its own certificate are missing or not PEM")]
pub struct HttpClientError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl From<reqwest::Error> for HttpClientError {
    fn from(error: reqwest::Error) -> Self {
        Self(error.into())
    }
}

/// Builds a client. It follows no redirect and asks no proxy of the environment: an answer that sends us
/// elsewhere is an unexpected answer.
pub fn build(options: &HttpClientOptions) -> Result<Client, HttpClientError> {
    let builder = Client::builder()
        .connect_timeout(options.connect_timeout)
        .timeout(options.total_timeout)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("iot-bridge/", env!("CARGO_PKG_VERSION")));
    let builder = match &options.trust {
        Trust::System => builder,
        Trust::SystemAnd(pem) => builder.tls_certs_merge(Certificate::from_pem_bundle(pem)?),
        Trust::Only(pem) => builder.tls_certs_only(Certificate::from_pem_bundle(pem)?),
        Trust::OnlyNotBefore(pem, time) => {
            let tls = late_clock::tls(pem, *time, options.identity.as_ref()).map_err(HttpClientError)?;
            return Ok(builder.tls_backend_preconfigured(tls).build()?);
        }
    };
    let builder = match &options.identity {
        Some(pem) => builder.identity(Identity::from_pem(pem.expose_secret().as_bytes())?),
        None => builder,
    };
    Ok(builder.build()?)
}

/// The body of an answer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is larger than we are ready to hold.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection broke or the deadline passed.
    #[error("the answer broke off")]
    Broken(#[from] reqwest::Error),
}

/// Reads a body of at most `max_bytes`.
pub async fn read_limited(mut response: Response, max_bytes: usize) -> Result<Bytes, ReadError> {
    let announced = response.content_length().unwrap_or(0);
    if usize::try_from(announced).is_ok_and(|length| length > max_bytes) {
        return Err(ReadError::TooLarge(max_bytes));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Err(ReadError::TooLarge(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}
