//! A terminal server in ttyd's protocol, for devices that have no ttyd: the agent's own, and the
//! simulated device's.
//!
//! It behaves as ttyd 1.7.7 does where a client can see it, faults included: whoever asks wrongly gets
//! no answer, and the end of a shell is a bare FIN. It differs in what harms: messages have a largest
//! size, and PAUSE and RESUME do nothing.

mod handshake;
mod message;
mod session;
mod shell;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use session::Session;
pub use shell::Shell;

/// ttyd's port.
pub const PORT: u16 = 7681;

/// Time for the request head and our answer.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Pause after a failed `accept`, for example when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Where connections come from: the embedded tunnel, or a TCP socket on the tunnel's address.
pub trait Listener: Send {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection. Cancelling it loses none.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _peer) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// How a terminal serves.
#[derive(Debug, Clone)]
pub struct TerminalSettings {
    /// What each session runs.
    pub shell: Shell,
    /// The header with the operator's name, which becomes `TTYD_USER`; without it in a request the
    /// request is refused (ttyd's `-H`).
    pub user_header: Option<HeaderName>,
    /// How many clients at once, also those that did not start a shell yet (ttyd's `-m`).
    pub max_clients: usize,
    /// How often the client is pinged (ttyd's `-P`); it is hung up after 7 more seconds of silence.
    pub ping_interval: Duration,
}

impl Default for TerminalSettings {
    fn default() -> Self {
        Self {
            shell: Shell::login(),
            user_header: None,
            max_clients: 16,
            ping_interval: Duration::from_secs(5),
        }
    }
}

/// The terminal server of one device.
#[derive(Debug, Clone)]
pub struct Terminal {
    settings: Arc<TerminalSettings>,
    clients: Arc<Semaphore>,
}

impl Terminal {
    /// Prepares a terminal; nothing runs yet.
    pub fn new(settings: TerminalSettings) -> Self {
        Self {
            clients: Arc::new(Semaphore::new(settings.max_clients)),
            settings: Arc::new(settings),
        }
    }

    /// Serves connections until `drain`, then waits for the sessions that run; `stop` ends them.
    pub async fn serve<L: Listener>(self, mut listener: L, drain: CancellationToken, stop: CancellationToken) {
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok(stream) => {
                        let session = self.clone().serve_connection(stream, stop.clone());
                        sessions.spawn(session.in_current_span());
                    }
                    Err(error) => {
                        tracing::warn!(%error, "No connection could be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = sessions.join_next() => {}
                () = drain.cancelled() => break,
                () = stop.cancelled() => break,
            }
        }
        drop(listener);
        while sessions.join_next().await.is_some() {}
    }

    /// Serves one connection to its end. One client too many is closed at once, without an answer.
    pub async fn serve_connection<S>(self, stream: S, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Ok(_permit) = self.clients.try_acquire() else {
            tracing::warn!(
                terminal.clients = self.settings.max_clients,
                "A terminal client too many was refused"
            );
            return;
        };
        let handshake = handshake::accept(stream, self.settings.user_header.as_ref());
        let Ok(Ok((websocket, user))) = tokio::time::timeout(HANDSHAKE, handshake).await else {
            tracing::debug!("A request for something other than the terminal was closed");
            return;
        };
        let began = Instant::now();
        let operator = user.as_deref().unwrap_or_default().to_string_lossy().into_owned();
        let session = Session {
            shell: &self.settings.shell,
            user,
            ping_interval: self.settings.ping_interval,
            stop,
        };
        let ending = session.run(websocket).await;
        let seconds = began.elapsed().as_secs();
        tracing::info!(terminal.user = operator, terminal.ending = %ending, seconds, "Terminal session ended");
    }
}
