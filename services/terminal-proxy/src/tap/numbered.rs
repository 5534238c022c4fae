//! Numbered output for one browser: frames made from the log, from any byte on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::domain::SessionId;
use serde::Serialize;
use tokio::io::ReadBuf;

use super::log::OutputLog;
use crate::relay::{Opcode, OutputEnd, append_close, append_frame};

/// Most output in one frame; what comes in many small frames goes out in fewer.
const MAX_OUTPUT_BYTES: usize = 32 * 1024;

/// Header and command byte of such a frame.
const HEAD_BYTES: usize = 5;

/// Up to which number a browser has seen the output.
pub(crate) type Acknowledged = Arc<AtomicU64>;

/// The first message on `tty.resume.v1`: where the numbers begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Greeting {
    pub(crate) session_id: SessionId,
    /// Whether the process is the one of before.
    pub(crate) resumed: bool,
    /// The number of the first byte of output that follows.
    pub(crate) offset: u64,
    /// How many bytes of output in front of it the browser has missed for good.
    pub(crate) lost: u64,
    /// How long the process is kept without a browser.
    pub(crate) keep_seconds: u64,
}

pub(super) struct Numbered {
    log: Arc<OutputLog>,
    /// Whole frames that go before the output.
    first: Vec<u8>,
    sent: u64,
    acknowledged: Acknowledged,
    window: u64,
    owes_sign_of_life: bool,
}

impl Numbered {
    pub(super) fn new(log: Arc<OutputLog>, greeting: &Greeting, acknowledged: Acknowledged) -> Self {
        acknowledged.store(greeting.offset, Ordering::Relaxed);
        let text = serde_json::to_vec(greeting).expect("numbers and an id");
        let mut first = Vec::new();
        append_frame(&mut first, Opcode::Text, None, &[&text]);
        if greeting.resumed {
            let title = log.title();
            if !title.is_empty() {
                append_frame(&mut first, Opcode::Binary, None, &[b"1", &title]);
            }
        }
        Self {
            window: log.capacity(),
            log,
            first,
            sent: greeting.offset,
            acknowledged,
            owes_sign_of_life: false,
        }
    }

    /// Puts what is there for the browser into the buffer; false when there is nothing, or the browser has to
    /// acknowledge something first.
    pub(super) fn fill(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if !self.first.is_empty() {
            let now = self.first.len().min(buffer.remaining());
            buffer.put_slice(self.first.get(..now).unwrap_or_default());
            self.first.drain(..now);
            return true;
        }
        if std::mem::take(&mut self.owes_sign_of_life) && buffer.remaining() >= 2 {
            buffer.put_slice(&[0x8A, 0x00]);
            return true;
        }
        self.fill_output(buffer)
    }

    fn fill_output(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let window = usize::try_from(self.window_left()).unwrap_or(usize::MAX);
        let most = MAX_OUTPUT_BYTES
            .min(window)
            .min(buffer.remaining().saturating_sub(HEAD_BYTES));
        if most == 0 {
            return false;
        }
        let head_and_output = buffer.initialize_unfilled_to(HEAD_BYTES + most);
        let (head, output) = head_and_output.split_at_mut(HEAD_BYTES);
        let piece = self.log.read(self.sent, output);
        if piece.bytes == 0 {
            return false;
        }
        let payload_bytes = piece.bytes + 1;
        let frame_begin = if payload_bytes <= 125 {
            head.copy_from_slice(&[0, 0, 0x82, low_byte(payload_bytes), b'0']);
            2
        } else {
            let [high, low] = u16::try_from(payload_bytes).unwrap_or(u16::MAX).to_be_bytes();
            head.copy_from_slice(&[0x82, 126, high, low, b'0']);
            0
        };
        head_and_output.copy_within(frame_begin.., 0);
        buffer.advance(HEAD_BYTES - frame_begin + piece.bytes);
        self.sent = piece.begin + piece.bytes as u64;
        true
    }

    /// How much may be read from the device, so that nothing falls out of the log that the browser has not seen.
    pub(super) fn room(&self) -> usize {
        let unseen = self.log.end().saturating_sub(self.seen());
        usize::try_from(self.window.saturating_sub(unseen)).unwrap_or(usize::MAX)
    }

    /// The device is alive: so that the relay knows.
    pub(super) fn sign_of_life(&mut self) {
        self.owes_sign_of_life = true;
    }

    /// Tells the relay how the device ended, in the device's own way.
    pub(super) fn end(&mut self, end: OutputEnd, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        match end {
            OutputEnd::DeviceClosed(code) => {
                append_close(&mut self.first, None, code.unwrap_or(1000), "");
                self.fill(buffer);
                Ok(())
            }
            OutputEnd::DeviceEnded | OutputEnd::CloseSent => Ok(()),
            OutputEnd::DeviceBroke(violation) => Err(io::Error::new(io::ErrorKind::InvalidData, violation)),
            OutputEnd::DeviceLost | OutputEnd::BrowserLost => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    fn window_left(&self) -> u64 {
        (self.seen() + self.window).saturating_sub(self.sent)
    }

    /// A browser cannot have seen what was not sent.
    fn seen(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed).min(self.sent)
    }
}

fn low_byte(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}
