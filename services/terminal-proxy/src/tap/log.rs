//! What a device has shown: every byte has a number, and the last of them are kept.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::relay::Size;

/// Longest title that is remembered.
const MAX_TITLE_BYTES: usize = 256;

/// The output of a session. It costs memory for what was shown and not more than its capacity.
#[derive(Debug)]
pub(crate) struct OutputLog {
    is_kept: AtomicBool,
    kept: Mutex<Kept>,
    grown: Notify,
}

#[derive(Debug)]
pub(crate) struct Kept {
    bytes: VecDeque<u8>,
    capacity: usize,
    /// The number of the byte that comes next.
    end: u64,
    title: Vec<u8>,
    size: Size,
    has_grown: bool,
    is_closed: bool,
}

/// A part of the output, copied out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The number of its first byte: larger than what was asked for when that is not kept any more.
    pub(crate) begin: u64,
    pub(crate) bytes: usize,
}

impl OutputLog {
    /// Begins an empty log; nothing is kept until somebody asks for it.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            is_kept: AtomicBool::new(false),
            kept: Mutex::new(Kept {
                bytes: VecDeque::new(),
                capacity,
                end: 0,
                title: Vec::new(),
                size: Size::default(),
                has_grown: false,
                is_closed: false,
            }),
            grown: Notify::new(),
        }
    }

    /// Keeps output from now on.
    pub(crate) fn keep(&self) {
        self.is_kept.store(true, Ordering::Release);
    }

    /// The log to append to, if anybody asked for one.
    pub(super) fn lock_if_kept(&self) -> Option<MutexGuard<'_, Kept>> {
        self.is_kept.load(Ordering::Acquire).then(|| self.lock())
    }

    pub(super) fn wake(&self) {
        self.grown.notify_waiters();
    }

    /// Nothing comes any more.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.wake();
    }

    pub(crate) fn resized(&self, size: Size) {
        self.lock().size = size;
        self.wake();
    }

    pub(crate) fn size(&self) -> Size {
        self.lock().size
    }

    pub(crate) fn title(&self) -> Vec<u8> {
        self.lock().title.clone()
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.lock().capacity as u64
    }

    /// The number of the byte that comes next.
    pub(crate) fn end(&self) -> u64 {
        self.lock().end
    }

    /// The number of the first byte from `wanted` on that is still there.
    pub(crate) fn first_from(&self, wanted: u64) -> u64 {
        let kept = self.lock();
        wanted.clamp(kept.begin(), kept.end)
    }

    /// Copies what follows `from`, as much as fits; no bytes when there is nothing yet.
    pub(crate) fn read(&self, from: u64, into: &mut [u8]) -> Piece {
        self.lock().read(from, into)
    }

    /// Waits until there is something behind `from`, or the size is another one. False when nothing comes any more.
    pub(crate) async fn grown(&self, from: u64, size: Size) -> bool {
        loop {
            let grown = self.grown.notified();
            {
                let kept = self.lock();
                if kept.end > from || kept.size != size {
                    return true;
                }
                if kept.is_closed {
                    return false;
                }
            }
            grown.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn begin(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        self.has_grown = true;
        let bytes = bytes
            .get(bytes.len().saturating_sub(self.capacity)..)
            .unwrap_or_default();
        let overflow = (self.bytes.len() + bytes.len()).saturating_sub(self.capacity);
        self.bytes.drain(..overflow);
        self.bytes.extend(bytes);
    }

    pub(super) fn title(&mut self, bytes: &[u8]) {
        self.title.clear();
        self.title.extend(bytes.iter().take(MAX_TITLE_BYTES));
    }

    /// Whether anything was appended since this was asked.
    pub(super) fn take_has_grown(&mut self) -> bool {
        std::mem::take(&mut self.has_grown)
    }

    fn read(&self, from: u64, into: &mut [u8]) -> Piece {
        let begin = from.clamp(self.begin(), self.end);
        let skipped = usize::try_from(begin - self.begin()).unwrap_or(usize::MAX);
        let (first, second) = self.bytes.as_slices();
        let mut copied = 0;
        for part in [
            first.get(skipped..).unwrap_or_default(),
            second.get(skipped.saturating_sub(first.len())..).unwrap_or_default(),
        ] {
            let room = into.get_mut(copied..).unwrap_or_default();
            let now = part.len().min(room.len());
            if let (Some(target), Some(source)) = (room.get_mut(..now), part.get(..now)) {
                target.copy_from_slice(source);
            }
            copied += now;
        }
        Piece { begin, bytes: copied }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(capacity: usize) -> OutputLog {
        let log = OutputLog::new(capacity);
        log.keep();
        log
    }

    fn append(log: &OutputLog, bytes: &[u8]) {
        log.lock_if_kept().unwrap().append(bytes);
    }

    fn read(log: &OutputLog, from: u64) -> (u64, Vec<u8>) {
        let mut buffer = [0; 64];
        let piece = log.read(from, &mut buffer);
        (piece.begin, buffer[..piece.bytes].to_vec())
    }

    #[test]
    fn the_last_bytes_are_kept_under_their_numbers() {
        let log = log(8);
        append(&log, b"abcdef");
        assert_eq!(read(&log, 0), (0, b"abcdef".to_vec()));
        assert_eq!(read(&log, 4), (4, b"ef".to_vec()));

        append(&log, b"ghijk");
        assert_eq!(read(&log, 0), (3, b"defghijk".to_vec()));
        assert_eq!(read(&log, 10), (10, b"k".to_vec()));
        assert_eq!(read(&log, 11), (11, Vec::new()));
        assert_eq!(read(&log, 99), (11, Vec::new()));

        append(&log, b"0123456789");
        assert_eq!(read(&log, 5), (13, b"23456789".to_vec()));
        assert_eq!((log.first_from(0), log.end()), (13, 21));
    }

    #[test]
    fn nothing_is_kept_before_somebody_asks() {
        assert!(OutputLog::new(8).lock_if_kept().is_none());
    }
}
