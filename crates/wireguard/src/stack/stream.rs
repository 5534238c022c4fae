use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{RecvError, State};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Shared;

/// A TCP connection through the tunnel.
///
/// It holds at most 64 KiB in each direction: a reader that does not read closes the sender's window.
/// A peer that vanishes ends it after a minute and a half. Dropping it still delivers what was written, for
/// half a minute at most, and then closes the connection; or resets it if something was left to read.
#[derive(Debug)]
pub struct TunnelStream {
    shared: Arc<Shared>,
    handle: SocketHandle,
}

impl TunnelStream {
    pub(super) fn new(shared: Arc<Shared>, handle: SocketHandle) -> Self {
        Self { shared, handle }
    }

    /// Waits until the connection is open or refused.
    pub(crate) async fn connected(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            let mut sockets = self.shared.lock();
            let socket = sockets.socket(self.handle);
            match socket.state() {
                State::SynSent | State::SynReceived => {
                    socket.register_send_waker(context.waker());
                    Poll::Pending
                }
                State::Closed => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
                State::Listen
                | State::Established
                | State::FinWait1
                | State::FinWait2
                | State::CloseWait
                | State::Closing
                | State::LastAck
                | State::TimeWait => Poll::Ready(Ok(())),
            }
        })
        .await
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut sockets = self.shared.lock();
        let socket = sockets.socket(self.handle);
        match socket.recv_slice(buffer.initialize_unfilled()) {
            Ok(0) => {
                socket.register_recv_waker(context.waker());
                Poll::Pending
            }
            Ok(length) => {
                drop(sockets);
                buffer.advance(length);
                self.shared.changed.notify_one(); // the window is open again
                Poll::Ready(Ok(()))
            }
            Err(RecvError::Finished) => Poll::Ready(Ok(())),
            Err(RecvError::InvalidState) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut sockets = self.shared.lock();
        let socket = sockets.socket(self.handle);
        match socket.send_slice(bytes) {
            Ok(0) => {
                socket.register_send_waker(context.waker());
                Poll::Pending
            }
            Ok(length) => {
                drop(sockets);
                self.shared.changed.notify_one();
                Poll::Ready(Ok(length))
            }
            Err(_not_open) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    // Like a kernel's socket: what was written is on its way.
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().socket(self.handle).close();
        self.shared.changed.notify_one();
        Poll::Ready(Ok(()))
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        self.shared.lock().release(self.handle, self.shared.now());
        self.shared.changed.notify_one();
    }
}
