use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gotatun::packet::{Packet, PacketBufPool};
use gotatun::udp::{UdpRecv, UdpSend, UdpTransportFactory, UdpTransportFactoryParams};
use tokio::net::UdpSocket;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::warn;

/// How many datagrams are read before they are handed on.
const BATCH: usize = 32;

/// How long to wait after the operating system failed to receive, so that a lasting failure costs
/// little.
const RECEIVE_PAUSE: Duration = Duration::from_millis(100);

/// The one UDP socket of a tunnel, bound to the given address before the tunnel exists.
///
/// gotatun's own sockets are not used: they listen on every interface, and reserve 26 MB a device.
#[derive(Debug)]
pub(crate) struct BoundSocket(Option<SharedSocket>);

impl BoundSocket {
    /// Binds; the token is cancelled when the last user of the socket has let go of it.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<(Self, SocketAddr, CancellationToken)> {
        let udp = UdpSocket::bind(address).await?;
        let local = udp.local_addr()?;
        let released = CancellationToken::new();
        let socket = Socket {
            udp,
            _released: released.clone().drop_guard(),
        };
        Ok((Self(Some(SharedSocket(Arc::new(socket)))), local, released))
    }
}

impl UdpTransportFactory for BoundSocket {
    type Send = SharedSocket;
    type Recv = SharedSocket;

    async fn bind(&mut self, _params: &UdpTransportFactoryParams) -> io::Result<(SharedSocket, SharedSocket)> {
        let socket = self.0.take().ok_or(io::ErrorKind::AddrInUse)?;
        Ok((socket.clone(), socket))
    }
}

/// A use of the tunnel's socket.
#[derive(Debug, Clone)]
pub(crate) struct SharedSocket(Arc<Socket>);

#[derive(Debug)]
struct Socket {
    udp: UdpSocket,
    _released: DropGuard,
}

impl UdpSend for SharedSocket {
    type SendManyBuf = ();

    async fn send_to(&self, packet: Packet, destination: SocketAddr) -> io::Result<()> {
        self.0.udp.send_to(&packet, destination).await.map(|_sent| ())
    }

    fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        self.0.udp.local_addr().map(Some)
    }
}

impl UdpRecv for SharedSocket {
    type RecvManyBuf = ();

    // gotatun ends the tunnel for good when this returns an error, so it does not.
    async fn recv_from(&mut self, pool: &mut PacketBufPool) -> io::Result<(Packet, SocketAddr)> {
        loop {
            let mut packet = pool.get();
            match self.0.udp.recv_from(&mut packet).await {
                Ok((length, source)) => {
                    packet.truncate(length);
                    return Ok((packet, source));
                }
                Err(error) => {
                    warn!(%error, "A tunnel's UDP socket failed to receive");
                    tokio::time::sleep(RECEIVE_PAUSE).await;
                }
            }
        }
    }

    async fn recv_many_from(
        &mut self,
        _buffer: &mut (),
        pool: &mut PacketBufPool,
        packets: &mut Vec<(Packet, SocketAddr)>,
    ) -> io::Result<()> {
        packets.push(self.recv_from(pool).await?);
        while packets.len() < BATCH {
            let mut packet = pool.get();
            let Ok((length, source)) = self.0.udp.try_recv_from(&mut packet) else {
                break; // nothing more for now, or a failure that the next call will meet
            };
            packet.truncate(length);
            packets.push((packet, source));
        }
        Ok(())
    }
}
