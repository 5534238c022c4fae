//! Browser → device: every message is looked at; what passes gets a mask of ours.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::command::Command;
use super::frame::{Opcode, Violation, append_close, append_frame};
use super::mask::fresh_mask;
use super::messages::{MessageLimits, MessageReader, Received};
use super::output::Output;
use super::scratch::with_scratch;

/// How much is read at once. A few short messages; a paste takes several reads.
const READ_BYTES: usize = 64 * 1024;

/// Why nothing more comes from this direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InputEnd {
    /// The browser said Close.
    BrowserClosed(Option<u16>),
    /// The connection to the browser broke.
    BrowserLost,
    /// The browser broke the protocol.
    BrowserBroke(Violation),
    /// The connection to the device broke.
    DeviceLost,
}

/// What happened since somebody last looked.
#[derive(Debug, Default)]
pub(super) struct InputNews {
    /// The browser sent something.
    pub(super) browser_heard: bool,
    /// A person typed, pasted or resized.
    pub(super) data: bool,
    /// The device took something.
    pub(super) device_took: bool,
}

/// The state of this direction.
#[derive(Debug)]
pub(super) struct Input {
    reader: MessageReader,
    started: bool,
    /// Whole frames for the device.
    waiting: Vec<u8>,
    written: usize,
    needs_flush: bool,
    max_frames_per_tick: u32,
    pub(super) news: InputNews,
    pub(super) bytes: u64,
    pub(super) dropped_messages: u64,
}

impl Input {
    pub(super) fn new(limits: MessageLimits, max_frames_per_tick: u32) -> Self {
        Self {
            reader: MessageReader::new(limits),
            started: false,
            waiting: Vec::new(),
            written: 0,
            needs_flush: false,
            max_frames_per_tick,
            news: InputNews::default(),
            bytes: 0,
            dropped_messages: 0,
        }
    }

    /// Whether the device does not take what is there for it.
    pub(super) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether the browser sent its share of frames and has to wait for the next tick.
    pub(super) fn is_throttled(&self) -> bool {
        self.reader.frames >= self.max_frames_per_tick
    }

    /// Grants the browser its next share of frames.
    pub(super) fn refill(&mut self) {
        self.reader.frames = 0;
    }

    /// Sends the device a control frame of our own.
    pub(super) fn send_control(&mut self, opcode: Opcode) {
        append_frame(&mut self.waiting, opcode, Some(fresh_mask()), &[]);
    }

    /// Says Close to the device.
    pub(super) fn close(&mut self) {
        append_close(&mut self.waiting, Some(fresh_mask()), 1000, "");
    }

    /// Passes on what may pass, until one side would block. `output` answers the browser's Pings.
    pub(super) fn poll<B, D>(
        &mut self,
        cx: &mut Context<'_>,
        browser: &mut B,
        device: &mut D,
        output: &mut Output,
    ) -> Poll<InputEnd>
    where
        B: AsyncRead + Unpin,
        D: AsyncWrite + Unpin,
    {
        loop {
            if ready!(self.poll_write(cx, device)).is_err() {
                return Poll::Ready(InputEnd::DeviceLost);
            }
            if self.is_throttled() {
                return Poll::Pending; // the tick polls again
            }
            let end = with_scratch(|scratch| {
                let mut buffer = ReadBuf::new(scratch.get_mut(..READ_BYTES).unwrap_or_default());
                let result = ready!(Pin::new(&mut *browser).poll_read(cx, &mut buffer));
                if result.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(Some(InputEnd::BrowserLost));
                }
                self.news.browser_heard = true;
                self.bytes += buffer.filled().len() as u64;
                Poll::Ready(self.accept(buffer.filled(), output))
            });
            if let Some(end) = ready!(end) {
                return Poll::Ready(end);
            }
        }
    }

    /// Writes what is there for the device.
    pub(super) fn poll_write<D: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        device: &mut D,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.written..)
            && !rest.is_empty()
        {
            let taken = ready!(Pin::new(&mut *device).poll_write(cx, rest))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += taken;
            self.needs_flush = true;
            self.news.device_took = true;
        }
        if self.written > 0 {
            self.waiting.clear();
            self.waiting.shrink_to(64);
            self.written = 0;
        }
        if self.needs_flush {
            ready!(Pin::new(device).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }

    fn accept(&mut self, mut bytes: &[u8], output: &mut Output) -> Option<InputEnd> {
        loop {
            match self.reader.next(&mut bytes) {
                Ok(None) => return None,
                Ok(Some(Received::Message(message))) => {
                    self.news.data = true;
                    let command = Command::parse(message);
                    match forward(&mut self.waiting, &mut self.started, command, message) {
                        Forwarded::Yes => {}
                        Forwarded::No => self.dropped_messages += 1,
                    }
                }
                Ok(Some(Received::Ping(payload))) => {
                    output.inject(|frames| append_frame(frames, Opcode::Pong, None, &[payload]));
                }
                Ok(Some(Received::Pong)) => {}
                Ok(Some(Received::Close(code))) => return Some(InputEnd::BrowserClosed(code)),
                Err(violation) => return Some(InputEnd::BrowserBroke(violation)),
            }
        }
    }
}

enum Forwarded {
    Yes,
    No,
}

/// Appends what the device may hear of a message. The process starts with the first message, whatever it
/// is: ttyd drops a connection whose first message is input.
fn forward(to: &mut Vec<u8>, started: &mut bool, command: Command, message: &[u8]) -> Forwarded {
    let mut send = |payload: &[u8]| append_frame(to, Opcode::Binary, Some(fresh_mask()), &[payload]);
    if !*started {
        *started = true;
        let size = match command {
            Command::Hello(size) | Command::Resize(size) => size,
            Command::Input | Command::FlowControl | Command::Unknown => None,
        };
        send(size.unwrap_or_default().to_hello().as_bytes());
        if let Command::Hello(_) | Command::Resize(_) = command {
            return Forwarded::Yes;
        }
    }
    match command {
        Command::Input => send(message),
        Command::Resize(Some(size)) => send(size.to_resize().as_bytes()),
        Command::FlowControl => {}
        Command::Hello(_) | Command::Resize(None) | Command::Unknown => return Forwarded::No,
    }
    Forwarded::Yes
}
