//! One socket as the HTTP parser sees it: counted, with guarded heads that may not take long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::head_guard::HeadGuard;

/// The place of one socket among those that may be open; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl Place {
    pub(super) fn take(permit: OwnedSemaphorePermit, open: &Gauge) -> Self {
        open.inc();
        Self {
            _permit: permit,
            open: open.clone(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// A socket with its place; both live on when the connection is upgraded.
#[derive(Debug)]
pub(super) struct Connection<Io> {
    io: Io,
    guard: HeadGuard,
    head_timeout: Duration,
    head_deadline: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl<Io> Connection<Io> {
    /// The first head is due from now on; each later one from its first byte on.
    pub(super) fn new(io: Io, head_timeout: Duration, place: Place) -> Self {
        let head_deadline = Some(Box::pin(tokio::time::sleep(head_timeout)));
        Self {
            io,
            guard: HeadGuard::default(),
            head_timeout,
            head_deadline,
            _place: place,
        }
    }

    fn poll_head_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(deadline) = &mut self.head_deadline else {
            return Poll::Pending;
        };
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the head of a request took too long",
        )))
    }

    fn inspect(&mut self, bytes: &mut [u8]) {
        self.guard.inspect(bytes);
        if !self.guard.is_within_head() {
            self.head_deadline = None;
        } else if self.head_deadline.is_none() {
            self.head_deadline = Some(Box::pin(tokio::time::sleep(self.head_timeout)));
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Connection<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(context, buffer) {
            Poll::Ready(result) => {
                result?;
                if let Some(new @ [_, ..]) = buffer.filled_mut().get_mut(before..) {
                    self.inspect(new);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => self.poll_head_deadline(context),
        }
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Connection<Io> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
