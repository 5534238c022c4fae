//! Device → browser: bytes pass as they are; frames of our own go in at a frame boundary.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::follower::{Followed, FrameFollower, Stop};
use super::frame::{Violation, append_close};
use super::scratch::with_scratch;

/// The longest header of a server: without a mask.
const MAX_HELD_BYTES: usize = 10;

/// What one session may pass on before others get their turn: about 0.1 ms.
const FAIR_SHARE_BYTES: usize = 128 * 1024;

/// How much is read at once while the browser does not keep up: this much memory it may cost us.
const SLOW_BROWSER_READ_BYTES: usize = 16 * 1024;

/// Why nothing more comes from this direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputEnd {
    /// The device closed its side between two frames: ttyd's way to say that the process ended.
    DeviceEnded,
    /// The device said Close.
    DeviceClosed(Option<u16>),
    /// The connection to the device broke.
    DeviceLost,
    /// The device broke the protocol.
    DeviceBroke(Violation),
    /// The connection to the browser broke.
    BrowserLost,
    /// Our own Close is on its way to the browser.
    CloseSent,
}

/// What happened since somebody last looked.
#[derive(Debug, Default)]
pub(super) struct OutputNews {
    /// The device sent something.
    pub(super) device_heard: bool,
    /// The device sent data, not only a sign of life.
    pub(super) data: bool,
    /// The browser took something after it had not.
    pub(super) browser_resumed: bool,
}

/// The state of this direction. It owns memory for data only while the browser does not take it.
#[derive(Debug)]
pub(super) struct Output {
    follower: FrameFollower,
    held: [u8; MAX_HELD_BYTES],
    held_bytes: usize,
    /// Passable, and not taken by the browser yet.
    waiting: Vec<u8>,
    written: usize,
    /// The last write did not take everything.
    blocked: bool,
    needs_flush: bool,
    /// Whole frames for the next boundary.
    own_frames: Vec<u8>,
    closing: bool,
    end: Option<OutputEnd>,
    pub(super) news: OutputNews,
    pub(super) bytes: u64,
}

impl Output {
    pub(super) fn new(max_frame_bytes: u64) -> Self {
        Self {
            follower: FrameFollower::new(max_frame_bytes),
            held: [0; MAX_HELD_BYTES],
            held_bytes: 0,
            waiting: Vec::new(),
            written: 0,
            blocked: false,
            needs_flush: false,
            own_frames: Vec::new(),
            closing: false,
            end: None,
            news: OutputNews::default(),
            bytes: 0,
        }
    }

    /// Whether the browser does not take what is there for it.
    pub(super) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Puts a frame of our own in at the next boundary; drops it while others still wait, so that nothing
    /// grows. Only for frames that may be dropped: Ping and Pong.
    pub(super) fn inject(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        if self.own_frames.is_empty() && !self.closing {
            append(&mut self.own_frames);
        }
    }

    /// Says Close at the next boundary, and nothing after it.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        self.closing = true;
        self.end = None;
        append_close(&mut self.own_frames, None, code, reason);
    }

    /// Passes on what there is, until one side would block.
    pub(super) fn poll<D, B>(&mut self, cx: &mut Context<'_>, device: &mut D, browser: &mut B) -> Poll<OutputEnd>
    where
        D: AsyncRead + Unpin,
        B: AsyncWrite + Unpin,
    {
        let mut share = FAIR_SHARE_BYTES;
        loop {
            if ready!(self.poll_write(cx, browser)).is_err() {
                return Poll::Ready(OutputEnd::BrowserLost);
            }
            if let Some(end) = self.end {
                return self.poll_flush(cx, browser).map(|()| end);
            }
            if self.follower.at_boundary() && !self.own_frames.is_empty() {
                self.take_own_frames();
                continue;
            }
            if share == 0 {
                return give_way(cx);
            }
            match self.poll_pass(cx, device, browser) {
                Poll::Ready(passed) => share = share.saturating_sub(passed),
                Poll::Pending => {
                    // Both may be pending; each has registered for its own wake-up.
                    ready!(self.poll_flush(cx, browser));
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads once from the device and offers that to the browser at once.
    fn poll_pass<D, B>(&mut self, cx: &mut Context<'_>, device: &mut D, browser: &mut B) -> Poll<usize>
    where
        D: AsyncRead + Unpin,
        B: AsyncWrite + Unpin,
    {
        with_scratch(|scratch| {
            let (held, room) = scratch.split_at_mut(self.held_bytes);
            held.copy_from_slice(self.held.get(..self.held_bytes).unwrap_or_default());
            let room = if self.blocked {
                room.get_mut(..SLOW_BROWSER_READ_BYTES).unwrap_or_default()
            } else {
                room
            };
            let mut buffer = ReadBuf::new(room);
            let result = ready!(Pin::new(device).poll_read(cx, &mut buffer));
            let read = buffer.filled().len();
            match result {
                Ok(()) if read > 0 => {
                    let chunk = scratch.get(..self.held_bytes + read).unwrap_or_default();
                    self.pass(cx, chunk, browser);
                }
                Ok(()) if self.follower.at_boundary() && self.held_bytes == 0 => {
                    self.end = Some(OutputEnd::DeviceEnded);
                }
                Ok(()) | Err(_) => self.end = Some(OutputEnd::DeviceLost),
            }
            Poll::Ready(read)
        })
    }

    /// Follows a chunk and hands the passable part to the browser.
    fn pass<B: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, chunk: &[u8], browser: &mut B) {
        let followed = self.follower.follow(chunk);
        let (passable, behind) = chunk.split_at(followed.passable);
        self.news.device_heard = true;
        self.news.data |= followed.data;
        self.hold_back(&followed, behind);
        if let Some(boundary) = followed.boundary
            && !self.own_frames.is_empty()
        {
            let (before, after) = passable.split_at(boundary);
            self.waiting.extend_from_slice(before);
            self.take_own_frames();
            if !self.closing {
                self.waiting.extend_from_slice(after);
            }
            self.bytes += passable.len() as u64;
            return;
        }
        self.bytes += passable.len() as u64;
        self.blocked = false;
        let taken = match Pin::new(browser).poll_write(cx, passable) {
            Poll::Ready(Ok(taken)) => taken,
            // The next write meets the same error.
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        };
        self.needs_flush |= taken > 0;
        self.waiting
            .extend_from_slice(passable.get(taken..).unwrap_or_default());
    }

    fn hold_back(&mut self, followed: &Followed, behind: &[u8]) {
        self.held_bytes = 0;
        match followed.stop {
            None => {
                self.held_bytes = behind.len();
                if let Some(held) = self.held.get_mut(..behind.len()) {
                    held.copy_from_slice(behind);
                }
            }
            Some(_) if self.closing => {} // our own Close stands before it
            Some(Stop::Close(code)) => self.end = Some(OutputEnd::DeviceClosed(code)),
            Some(Stop::Violation(violation)) => self.end = Some(OutputEnd::DeviceBroke(violation)),
        }
    }

    fn take_own_frames(&mut self) {
        self.waiting.append(&mut self.own_frames);
        if self.closing {
            self.end = Some(OutputEnd::CloseSent);
        }
    }

    fn poll_write<B: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, browser: &mut B) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.written..)
            && !rest.is_empty()
        {
            let Poll::Ready(result) = Pin::new(&mut *browser).poll_write(cx, rest) else {
                self.blocked = true;
                return Poll::Pending;
            };
            let taken = result?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += taken;
            self.needs_flush = true;
            self.news.browser_resumed |= self.blocked;
        }
        if self.written > 0 {
            self.waiting = Vec::new();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Flushes; a failure shows again at the next write.
    fn poll_flush<B: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, browser: &mut B) -> Poll<()> {
        if self.needs_flush {
            drop(ready!(Pin::new(browser).poll_flush(cx)));
            self.needs_flush = false;
        }
        Poll::Ready(())
    }
}

/// Comes back after everyone else who is ready. A mere wake-up would come before the runtime looks for new
/// keystrokes of others: it does so only every 61 polls while some task is always ready.
fn give_way<T>(cx: &mut Context<'_>) -> Poll<T> {
    let turn = pin!(tokio::task::yield_now());
    // It has asked to be woken, and that is all it does.
    match turn.poll(cx) {
        Poll::Ready(()) | Poll::Pending => Poll::Pending,
    }
}
