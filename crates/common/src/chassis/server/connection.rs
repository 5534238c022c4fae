//! One socket as the HTTP parser sees it: counted, with guarded heads that may not take long, and a client
//! that has to read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::Options;
use super::head_guard::HeadGuard;
use super::places::Place;

/// A socket with its place; both live on when the connection is upgraded.
#[derive(Debug)]
pub(super) struct Connection<Io> {
    io: Io,
    guard: HeadGuard,
    head_timeout: Duration,
    head_deadline: Option<Pin<Box<Sleep>>>,
    write_stall_timeout: Duration,
    /// Runs while bytes wait that the client does not take.
    write_deadline: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl<Io> Connection<Io> {
    /// The first head is due from now on; each later one from its first byte on.
    pub(super) fn new(io: Io, options: &Options, place: Place) -> Self {
        let head_deadline = Some(Box::pin(tokio::time::sleep(options.head_timeout)));
        Self {
            io,
            guard: HeadGuard::default(),
            head_timeout: options.head_timeout,
            head_deadline,
            write_stall_timeout: options.write_stall_timeout,
            write_deadline: None,
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

    /// Lets a write through, and fails instead of waiting when the client has taken nothing for too long.
    fn limit_stall<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_deadline = None;
            return written;
        }
        let timeout = self.write_stall_timeout;
        let deadline = self
            .write_deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client did not read what it was sent",
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
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.limit_stall(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.limit_stall(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(context);
        self.limit_stall(context, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.limit_stall(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
