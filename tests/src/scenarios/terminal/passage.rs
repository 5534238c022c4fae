//! Ways between this machine's loopback and that of the hub's namespace, where terminal-proxy lives: what an entrance
//! and an internal network are in a deployment.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::failure::Failure;
use crate::scenarios::wireguard::namespace::Namespace;

const WITHIN: Duration = Duration::from_secs(5);

/// They end with this.
pub(super) struct Passages {
    namespace: Arc<Namespace>,
    tasks: JoinSet<()>,
}

impl Passages {
    pub(super) fn new(namespace: &Arc<Namespace>) -> Self {
        Self {
            namespace: Arc::clone(namespace),
            tasks: JoinSet::new(),
        }
    }

    /// From a listener of ours to a port inside.
    pub(super) fn inwards(&mut self, listener: TcpListener, port: u16) {
        let namespace = Arc::clone(&self.namespace);
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((outside, _)) = listener.accept().await {
                let namespace = Arc::clone(&namespace);
                connections.spawn(async move {
                    // Nobody listens while the proxy restarts: then the connection just ends, as an entrance's would.
                    if let Ok(inside) = connect_inside(&namespace, port).await {
                        join(outside, inside).await;
                    }
                });
            }
        });
    }

    /// From a port inside to the same port out here.
    pub(super) async fn outwards(&mut self, port: u16) -> Result<(), Failure> {
        let listener = self.namespace.listen(port).await?;
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((inside, _)) = listener.accept().await {
                connections.spawn(async move {
                    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                    if let Ok(outside) = TcpStream::connect(to).await {
                        join(inside, outside).await;
                    }
                });
            }
        });
        Ok(())
    }
}

async fn connect_inside(namespace: &Namespace, port: u16) -> std::io::Result<TcpStream> {
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let stream = namespace.connect(0, to, WITHIN).await?;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// Passes everything on until both have ended; how one ended is the other's to notice.
async fn join(mut one: TcpStream, mut other: TcpStream) {
    drop(copy_bidirectional(&mut one, &mut other).await);
}
