//! The HTTP server of every service: one accept loop with the limits that `axum::serve` does not have.

mod clients;
mod connection;
mod head_guard;
mod places;
mod tls;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

pub use self::clients::ClientAuthorities;
use self::connection::Connection;
use self::head_guard::HeadGuard;
use self::places::{Place, Places};
pub use self::tls::{Tls, TlsError, TlsFiles};
use super::client_address::TrustedProxies;
use super::metrics::HttpMetrics;
use super::shutdown::Shutdown;

/// Most sockets at once, unless a service wants another number.
const MAX_CONNECTIONS: usize = 4096;

/// Longest request head, in bytes; more is 431. So are more header lines than hyper's 100.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What a client gets for the TLS handshake.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long accepting rests when the machine is out of something, for example file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a listener is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Speak TLS; without it plain HTTP.
    pub tls: Option<Tls>,
    /// Most sockets at once, upgraded ones included; more wait in the kernel's queue.
    pub max_connections: usize,
    /// Most sockets of one client address before TLS, an IPv6 /64 being one; more are closed at once.
    pub max_connections_per_address: usize,
    /// The same for loopback addresses and trusted proxies: a reverse proxy speaks for all its clients.
    pub max_proxy_connections: usize,
    /// The proxies that are trusted.
    pub trusted_proxies: TrustedProxies,
    /// From connecting, or from the first byte of a later head, to the end of the head.
    pub head_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what it is sent, in a session as well; then the socket is
    /// closed. A service that ends stalled sessions in its own words does so earlier.
    pub write_stall_timeout: Duration,
    /// The number of open sockets.
    pub open_connections: Gauge,
}

impl Options {
    /// Plain HTTP, 4,096 sockets, 256 of one address that is not loopback, 5 s for a head, 60 s between
    /// requests, 60 s for a client that does not read.
    pub fn new(metrics: &HttpMetrics) -> Self {
        Self {
            tls: None,
            max_connections: MAX_CONNECTIONS,
            max_connections_per_address: 256,
            max_proxy_connections: MAX_CONNECTIONS,
            trusted_proxies: TrustedProxies::default(),
            head_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(1),
            write_stall_timeout: Duration::from_mins(1),
            open_connections: metrics.open_connections().clone(),
        }
    }
}

/// The certificate that the client of this connection proved to own; an extension of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate(pub CertificateDer<'static>);

/// Does to the bytes of one connection, in the pieces that they come in, what a listener does before it reads them:
/// an ambiguous head is spoiled.
pub fn guard_heads(pieces: &mut [&mut [u8]]) {
    let mut guard = HeadGuard::default();
    for piece in pieces {
        guard.inspect(piece);
    }
}

/// Serves a router until shutdown: then accepts nothing more, finishes the requests that run, and closes.
/// Returns at once; `shutdown` owns the loop and every connection.
///
/// Handlers see `ConnectInfo<SocketAddr>` and, with client certificates, [`PeerCertificate`]. A handler
/// that upgrades hands its task to [`Shutdown::spawn`], or nobody waits for it.
pub fn serve(listener: TcpListener, router: Router, options: Options, shutdown: &Shutdown) {
    if let Some(tls) = options.tls.clone() {
        shutdown.spawn(tls.keep_fresh(shutdown.token()));
    }
    let server = Arc::new(Server {
        router,
        options,
        shutdown: shutdown.clone(),
    });
    shutdown.spawn(server.accept(listener));
}

#[derive(Debug)]
struct Server {
    router: Router,
    options: Options,
    shutdown: Shutdown,
}

impl Server {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let places = Places::new(&self.options);
        let stop = self.shutdown.token();
        while let Some(permit) = stop.run_until_cancelled(places.free()).await {
            let Some((stream, peer)) = stop.run_until_cancelled(accept_one(&listener)).await else {
                return;
            };
            let Some(place) = places.take(permit, peer.ip()) else {
                tracing::debug!(client.address = %peer.ip(), "Closed a connection: its address has too many");
                continue;
            };
            self.shutdown.spawn(Arc::clone(&self).run(stream, peer, place));
        }
    }

    /// Runs one connection to its end, or to the hard stop.
    async fn run(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        let result = self
            .shutdown
            .hard_token()
            .run_until_cancelled(self.run_connection(stream, peer, place))
            .await;
        if let Some(Err(error)) = result {
            tracing::debug!(client.address = %peer.ip(), error = super::problem::error_chain(&error), "A connection broke");
        }
    }

    async fn run_connection(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        place: Place,
    ) -> Result<(), ConnectionError> {
        stream.set_nodelay(true).map_err(ConnectionError::Socket)?;
        if let Some(tls) = &self.options.tls {
            // Boxed: it is larger than all else together.
            return Box::pin(self.run_tls(tls, stream, address, place)).await;
        }
        let certificate = None;
        self.run_http(stream, place, Peer { address, certificate }).await
    }

    async fn run_tls(
        &self,
        tls: &Tls,
        stream: TcpStream,
        address: SocketAddr,
        place: Place,
    ) -> Result<(), ConnectionError> {
        let handshake = TlsAcceptor::from(tls.config()).accept(stream);
        let stream = tokio::time::timeout(TLS_HANDSHAKE_TIMEOUT, handshake)
            .await
            .map_err(|_elapsed| ConnectionError::Handshake(io::ErrorKind::TimedOut.into()))?
            .map_err(ConnectionError::Handshake)?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = leaf.map(|leaf| PeerCertificate(leaf.clone().into_owned()));
        self.run_http(stream, place, Peer { address, certificate }).await
    }

    async fn run_http<Io>(&self, io: Io, place: Place, peer: Peer) -> Result<(), ConnectionError>
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(Connection::new(io, &self.options, place));
        let service = service_fn(|request| answer(self.router.clone(), request, &peer));
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.idle_timeout)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .serve_connection(io, service)
            .with_upgrades();
        let mut http = pin!(http);
        let soft = self.shutdown.token();
        if let Some(result) = soft.run_until_cancelled(http.as_mut()).await {
            return result.map_err(ConnectionError::Http);
        }
        http.as_mut().graceful_shutdown();
        http.await.map_err(ConnectionError::Http)
    }
}

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    certificate: Option<PeerCertificate>,
}

#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("the socket failed")]
    Socket(#[source] io::Error),
    #[error("the TLS handshake failed")]
    Handshake(#[source] io::Error),
    #[error("the HTTP connection failed")]
    Http(#[source] hyper::Error),
}

/// Accepts the next connection, whatever happens meanwhile.
async fn accept_one(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(error = super::problem::error_chain(&error), "Cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The client was gone before we took its connection; all else is about the listener or the machine.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

fn answer(
    router: Router,
    request: Request<Incoming>,
    peer: &Peer,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let mut request = request.map(Body::new);
    let wants_upgrade = request.headers().contains_key(UPGRADE);
    request.extensions_mut().insert(ConnectInfo(peer.address));
    if let Some(certificate) = &peer.certificate {
        request.extensions_mut().insert(certificate.clone());
    }
    async move {
        let mut response = router.oneshot(request).await?;
        // What follows an upgrade that was refused has not been through the head guard.
        if wants_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}
