//! Connections between the tunnel and other programs on the device. The tunnel is inside this process, so that they
//! reach it only through us: the hub reaches their ttyd, and they reach ports of the hub.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::terminal::Listener;
use crate::tunnel::Tunnel;

/// How long the other side gets to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Pause after a failed `accept`, for example when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The most connections at once through one port.
const MOST: usize = 64;

/// Passes every connection of `listener` on to a program on this device.
pub(crate) async fn to_program<L: Listener>(listener: L, program: SocketAddr, ends: Ends) {
    pass_on(listener, ends, move || async move {
        let stream = TcpStream::connect(program).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    })
    .await;
}

/// Opens a port of the loopback interface whose connections go to the same port of the hub.
pub(crate) async fn to_hub(tunnel: Arc<Tunnel>, port: u16, ends: Ends) -> io::Result<impl Future<Output = ()>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    Ok(pass_on(listener, ends, move || {
        let tunnel = Arc::clone(&tunnel);
        async move { tunnel.dial_hub(port).await }
    }))
}

/// When no new connection is taken, and when those that run end.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub(crate) drain: CancellationToken,
    pub(crate) stop: CancellationToken,
}

async fn pass_on<L, S, Connecting>(mut listener: L, ends: Ends, connect: impl Fn() -> Connecting)
where
    L: Listener,
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    Connecting: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST => match accepted {
                Ok(here) => {
                    connections.spawn(relay(here, connect(), ends.stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "No connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = ends.drain.cancelled() => break,
            () = ends.stop.cancelled() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// One connection to its end; whoever cannot be reached is a closed connection for the other side.
async fn relay<H, T>(mut here: H, connecting: impl Future<Output = io::Result<T>>, stop: CancellationToken)
where
    H: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let relayed = async {
        let mut there = timeout(CONNECT, connecting)
            .await
            .map_err(|_| io::ErrorKind::TimedOut)??;
        copy_bidirectional(&mut here, &mut there).await
    };
    tokio::select! {
        result = relayed => match result {
            Ok((sent, received)) => tracing::debug!(sent, received, "A passed-on connection ended"),
            Err(error) => tracing::debug!(%error, "A passed-on connection broke"),
        },
        () = stop.cancelled() => {}
    }
}
