//! What hangs on a device's stream while the relay knows nothing of it: the numbered output that a person comes back
//! to and others watch ([`OutputLog`]), and the recording.
//!
//! The relay reads from a [`TappedDevice`] as from the device itself. A session that cannot be resumed gets the
//! device's bytes as they are; its frames are followed only to find the output in them. A session that can be resumed
//! (sub-protocol `tty.resume.v1`) gets frames that are made from the log, so that it can begin at any byte.

mod frames;
mod log;
mod numbered;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::frames::{OutputFrames, Shown};
pub(crate) use self::log::OutputLog;
use self::numbered::Numbered;
pub(crate) use self::numbered::{Acknowledged, Greeting};
use crate::ports::DeviceStream;
use crate::recording::Recorder;
use crate::relay::{Kept, OutputEnd, with_scratch};
use crate::upstream::DeviceConnection;

/// A device whose output is also seen by others than its browser.
pub(crate) struct TappedDevice {
    stream: Box<dyn DeviceStream>,
    /// What came right behind the handshake.
    early: Vec<u8>,
    observer: Observer,
    numbered: Option<Numbered>,
    /// Why nothing more comes from the device, once that is known.
    end: Option<OutputEnd>,
    heard: bool,
}

/// Finds the output in the device's frames and hands it on.
struct Observer {
    frames: OutputFrames,
    log: Arc<OutputLog>,
    recorder: Option<Recorder>,
}

impl Observer {
    fn observe(&mut self, chunk: &[u8]) -> Option<OutputEnd> {
        let mut log = self.log.lock_if_kept();
        let recorder = &mut self.recorder;
        let end = self.frames.follow(chunk, |shown| match shown {
            Shown::Output(bytes) => {
                if let Some(log) = &mut log {
                    log.append(bytes);
                }
                if let Some(recorder) = recorder {
                    recorder.output(bytes);
                }
            }
            Shown::Title(bytes) => {
                if let Some(log) = &mut log {
                    log.title(bytes);
                }
            }
        });
        if log.take().is_some_and(|mut log| log.take_has_grown()) {
            self.log.wake();
        }
        end
    }
}

/// The output in a device's bytes, and how they end.
pub(crate) fn output_of(pieces: &[&[u8]], max_frame_bytes: u64) -> (Vec<u8>, Option<OutputEnd>) {
    let mut frames = OutputFrames::new(max_frame_bytes);
    let mut output = Vec::new();
    for piece in pieces {
        let end = frames.follow(piece, |shown| {
            if let Shown::Output(bytes) = shown {
                output.extend_from_slice(bytes);
            }
        });
        if end.is_some() {
            return (output, end);
        }
    }
    (output, None)
}

impl TappedDevice {
    pub(crate) fn new(
        connection: DeviceConnection,
        log: Arc<OutputLog>,
        recorder: Option<Recorder>,
        max_frame_bytes: u64,
    ) -> Self {
        Self {
            stream: connection.stream,
            early: connection.early,
            observer: Observer {
                frames: OutputFrames::new(max_frame_bytes),
                log,
                recorder,
            },
            numbered: None,
            end: None,
            heard: false,
        }
    }

    /// Says who reads from now on: somebody who is greeted and gets numbered output.
    pub(crate) fn number(&mut self, greeting: &Greeting, acknowledged: Acknowledged) {
        let log = Arc::clone(&self.observer.log);
        self.numbered = Some(Numbered::new(log, greeting, acknowledged));
    }

    /// Reads once; returns how many bytes came. Where they stand in `buffer` is for the caller to use or to forget.
    fn poll_stream(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        if let Some(recorder) = &mut self.observer.recorder {
            ready!(recorder.poll_ready(cx)); // it does not keep up: the device waits
        }
        let before = buffer.filled().len();
        if self.early.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        } else {
            let now = self.early.len().min(buffer.remaining());
            buffer.put_slice(self.early.get(..now).unwrap_or_default());
            self.early.drain(..now);
        }
        self.heard = true;
        Poll::Ready(Ok(buffer.filled().len() - before))
    }

    /// Reads once and hands on what is shown; the frames themselves are forgotten.
    fn poll_take_once(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<()> {
        let before = buffer.filled().len();
        match ready!(self.poll_stream(cx, buffer)) {
            Ok(0) if self.observer.frames.at_boundary() => self.end = Some(OutputEnd::DeviceEnded),
            Ok(0) | Err(_) => self.end = Some(OutputEnd::DeviceLost),
            Ok(_) => self.end = self.observer.observe(buffer.filled().get(before..).unwrap_or_default()),
        }
        buffer.set_filled(before);
        Poll::Ready(())
    }

    fn poll_numbered(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(numbered) = &mut self.numbered else {
                return Poll::Ready(Ok(()));
            };
            if numbered.fill(buffer) {
                return Poll::Ready(Ok(()));
            }
            if let Some(end) = self.end {
                return Poll::Ready(numbered.end(end, buffer));
            }
            let room = numbered.room().min(buffer.remaining());
            if room == 0 {
                return Poll::Pending; // an acknowledgement wakes the relay, and the relay asks again
            }
            let mut part = buffer.take(room);
            ready!(self.poll_take_once(cx, &mut part));
            if self.observer.frames.take_signs_of_life()
                && let Some(numbered) = &mut self.numbered
            {
                numbered.sign_of_life();
            }
        }
    }
}

impl AsyncRead for TappedDevice {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.numbered.is_some() {
            return this.poll_numbered(cx, buffer);
        }
        let before = buffer.filled().len();
        ready!(this.poll_stream(cx, buffer))?;
        // The relay follows the same frames and comes to the same end.
        this.observer.observe(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TappedDevice {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// How much of a device's output is taken before others get their turn.
const FAIR_SHARE_READS: u8 = 4;

impl Kept for TappedDevice {
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<OutputEnd> {
        for _ in 0..FAIR_SHARE_READS {
            if let Some(end) = self.end {
                return Poll::Ready(end);
            }
            ready!(with_scratch(
                |scratch| self.poll_take_once(cx, &mut ReadBuf::new(scratch))
            ));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn was_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }
}
