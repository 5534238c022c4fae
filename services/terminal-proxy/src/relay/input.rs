//! Browser → device: every message is looked at; what passes gets a mask of ours.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::command::{Command, Size};
use super::frame::{Opcode, Violation, append_frame};
use super::mask::fresh_mask;
use super::messages::{MessageLimits, MessageReader, Received};
use super::output::Output;
use super::scratch::with_scratch;
use crate::mailbox::Mailbox;

/// How much is read at once. A few short messages; a paste takes several reads.
const READ_BYTES: usize = 64 * 1024;

/// Who hears what a person does, besides the device.
pub(crate) trait Witness: Send + Sync {
    /// Keys went to the device.
    fn typed(&self, keys: &[u8]);

    /// The terminal has this size from now on.
    fn resized(&self, size: Size);

    /// Output up to this number has been seen; returns whether anybody counts it.
    fn acknowledged(&self, number: u64) -> bool;
}

/// What else belongs to a session's input.
pub(crate) struct Company<'session> {
    pub(crate) witness: &'session dyn Witness,
    /// Keys of the people who type along.
    pub(crate) guests: &'session Mailbox<Vec<u8>>,
    /// For a session that goes on: frames that are still on their way to the device. Its process runs.
    pub(crate) unsent: Option<Vec<u8>>,
}

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
pub(super) struct Input<'session> {
    reader: MessageReader,
    witness: &'session dyn Witness,
    guests: &'session Mailbox<Vec<u8>>,
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

impl<'session> Input<'session> {
    pub(super) fn new(limits: MessageLimits, max_frames_per_tick: u32, company: Company<'session>) -> Self {
        Self {
            reader: MessageReader::new(limits),
            witness: company.witness,
            guests: company.guests,
            started: company.unsent.is_some(),
            waiting: company.unsent.unwrap_or_default(),
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

    /// Gives up the frames that the device has not taken; the first may have begun.
    pub(super) fn take_unsent(&mut self) -> Vec<u8> {
        let mut unsent = std::mem::take(&mut self.waiting);
        unsent.drain(..std::mem::take(&mut self.written));
        unsent
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
            if self.started
                && let Poll::Ready(keys) = self.guests.poll_recv(cx)
            {
                self.outlet().pass(Command::Input, &keys);
                continue;
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

    fn outlet(&mut self) -> Outlet<'_> {
        Outlet {
            waiting: &mut self.waiting,
            started: &mut self.started,
            witness: self.witness,
        }
    }

    fn accept(&mut self, mut bytes: &[u8], output: &mut Output) -> Option<InputEnd> {
        loop {
            // The message is lent by the reader, which is whole again before anything else is done with it.
            let received = match self.reader.next(&mut bytes) {
                Ok(None) => return None,
                Ok(Some(received)) => received,
                Err(violation) => return Some(InputEnd::BrowserBroke(violation)),
            };
            match received {
                Received::Message(message) => {
                    self.news.data = true;
                    let mut outlet = Outlet {
                        waiting: &mut self.waiting,
                        started: &mut self.started,
                        witness: self.witness,
                    };
                    if !outlet.pass(Command::parse(message), message) {
                        self.dropped_messages += 1;
                    }
                }
                Received::Ping(payload) => {
                    output.inject(|frames| append_frame(frames, Opcode::Pong, None, &[payload]));
                }
                Received::Pong => {}
                Received::Close(code) => return Some(InputEnd::BrowserClosed(code)),
            }
        }
    }
}

/// Where messages for the device go.
struct Outlet<'input> {
    waiting: &'input mut Vec<u8>,
    started: &'input mut bool,
    witness: &'input dyn Witness,
}

impl Outlet<'_> {
    /// Appends what the device may hear of a message; returns whether it was understood. The process starts with
    /// the first message, whatever it is: ttyd drops a connection whose first message is input.
    fn pass(&mut self, command: Command, message: &[u8]) -> bool {
        if !*self.started {
            *self.started = true;
            let size = match command {
                Command::Hello(size) | Command::Resize(size) => size,
                Command::Input | Command::FlowControl | Command::Acknowledged(_) | Command::Unknown => None,
            };
            self.witness.resized(size.unwrap_or_default());
            self.send(size.unwrap_or_default().to_hello().as_bytes());
            if let Command::Hello(_) | Command::Resize(_) = command {
                return true;
            }
        }
        match command {
            Command::Input => {
                self.witness.typed(message.get(1..).unwrap_or_default());
                self.send(message);
            }
            // The hello of a page that comes back tells its size.
            Command::Resize(Some(size)) | Command::Hello(Some(size)) => {
                self.witness.resized(size);
                self.send(size.to_resize().as_bytes());
            }
            Command::FlowControl => {}
            Command::Acknowledged(number) => return self.witness.acknowledged(number),
            Command::Hello(None) | Command::Resize(None) | Command::Unknown => return false,
        }
        true
    }

    fn send(&mut self, payload: &[u8]) {
        append_frame(self.waiting, Opcode::Binary, Some(fresh_mask()), &[payload]);
    }
}
