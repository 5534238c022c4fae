//! The bytes between a browser and a device's ttyd.
//!
//! The two directions differ. *Device → browser* is the bulk: its frames pass as they are, by a loop that
//! only follows their headers ([`output`]). *Browser → device* is keystrokes: each message is looked at
//! ([`input`]). Neither queues: while one side does not take what is there for it, the other side is not
//! read. Both run in one task, so nothing is shared and nothing is locked.

mod command;
mod follower;
mod frame;
mod input;
mod keeping;
mod mask;
mod messages;
mod output;
mod passage;
mod pulse;
mod scratch;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};

pub(crate) use self::command::{Command, Size};
pub(crate) use self::frame::{
    Header, MAX_HEADER_BYTES, MessageOrder, Opcode, Violation, append_close, append_frame, close_code, read_header,
};
pub(crate) use self::input::{Company, Witness};
use self::input::{Input, InputEnd};
pub(crate) use self::keeping::{Kept, keep, leave_device, sign_of_life};
pub(crate) use self::messages::{MessageLimits, MessageReader, Received};
use self::output::Output;
pub(crate) use self::output::OutputEnd;
pub(crate) use self::passage::pass_on;
pub(crate) use self::pulse::Patience;
use self::pulse::{Pulse, TICK};
pub(crate) use self::scratch::with_scratch;
use crate::session::Ending;

/// How long an ending session waits for the end of a frame that the device began, and for room for its Close.
const LAST_FRAME: Duration = Duration::from_secs(1);

/// How long the other side has to answer a Close before the connection is cut.
const CLOSE_ANSWER: Duration = Duration::from_secs(2);

/// How much a browser may have sent before it saw our Close.
const MAX_UNREAD_BYTES: u64 = 1024 * 1024;

/// What a relay endures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RelayLimits {
    /// Longest message of a browser, all its fragments together.
    pub(crate) max_message_bytes: usize,
    /// Most fragments of a browser's message.
    pub(crate) max_fragments: u32,
    /// Frames of a browser per second, on average; more are not read.
    pub(crate) max_frames_per_second: u32,
    /// Longest frame of a device.
    pub(crate) max_device_frame_bytes: u64,
    /// How long something may last.
    pub(crate) patience: Patience,
}

/// The two ends of a session, after both handshakes.
pub(crate) struct Ends<'session, B, D> {
    /// The upgraded connection to the browser.
    pub(crate) browser: B,
    /// The upgraded connection to the device.
    pub(crate) device: D,
    /// What else belongs to its input.
    pub(crate) company: Company<'session>,
}

/// What a relay did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// Why it ended.
    pub(crate) ending: Ending,
    /// Bytes from the device to the browser.
    pub(crate) output_bytes: u64,
    /// Bytes from the browser.
    pub(crate) input_bytes: u64,
    /// Messages of the browser that ttyd would not understand.
    pub(crate) dropped_messages: u64,
    /// What the device, if it was kept, still has to be sent.
    pub(crate) unsent: Vec<u8>,
}

impl Relayed {
    /// What this relay and the next one of the same session did.
    pub(crate) fn followed_by(self, next: Self) -> Self {
        Self {
            output_bytes: self.output_bytes + next.output_bytes,
            input_bytes: self.input_bytes + next.input_bytes,
            dropped_messages: self.dropped_messages + next.dropped_messages,
            ..next
        }
    }
}

/// Relays until one side ends, a limit is reached, or `stop` says why to stop; then says Close to the browser, and to
/// the device unless the session survives that end.
pub(crate) async fn relay<B, D>(
    ends: Ends<'_, B, D>,
    limits: &RelayLimits,
    stop: impl Future<Output = Ending>,
    survives: impl FnOnce(Ending) -> bool,
) -> Relayed
where
    B: AsyncRead + AsyncWrite + Unpin,
    D: AsyncRead + AsyncWrite + Unpin,
{
    let mut relay = Relay::new(ends, limits);
    let mut stop = pin!(stop);
    let ending = poll_fn(|cx| relay.poll(cx, stop.as_mut())).await;
    // Boxed: what is only needed at the end costs a running session nothing.
    Box::pin(relay.finish(ending, survives(ending))).await
}

struct Relay<'session, B, D> {
    browser: B,
    device: D,
    input: Input<'session>,
    output: Output,
    /// The device does not take anything any more; what it said before is still on its way to the browser.
    device_is_deaf: bool,
    pulse: Pulse,
    ticks: Interval,
}

impl<'session, B, D> Relay<'session, B, D>
where
    B: AsyncRead + AsyncWrite + Unpin,
    D: AsyncRead + AsyncWrite + Unpin,
{
    fn new(ends: Ends<'session, B, D>, limits: &RelayLimits) -> Self {
        let message_limits = MessageLimits {
            max_message_bytes: limits.max_message_bytes,
            max_fragments: limits.max_fragments,
        };
        let tick_seconds_times_ten = 25;
        let max_frames_per_tick = limits.max_frames_per_second.saturating_mul(tick_seconds_times_ten) / 10;
        let mut ticks = interval_at(tokio::time::Instant::now() + TICK, TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            browser: ends.browser,
            device: ends.device,
            input: Input::new(message_limits, max_frames_per_tick, ends.company),
            output: Output::new(limits.max_device_frame_bytes),
            device_is_deaf: false,
            pulse: Pulse::new(&limits.patience),
            ticks,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, stop: Pin<&mut impl Future<Output = Ending>>) -> Poll<Ending> {
        if let Poll::Ready(ending) = stop.poll(cx) {
            return Poll::Ready(ending);
        }
        while self.ticks.poll_tick(cx).is_ready() {
            if let Some(ending) = self.pulse.beat(&mut self.input, &mut self.output) {
                return Poll::Ready(ending);
            }
        }
        if !self.device_is_deaf
            && let Poll::Ready(end) = self
                .input
                .poll(cx, &mut self.browser, &mut self.device, &mut self.output)
        {
            match end {
                InputEnd::BrowserClosed(code) => return Poll::Ready(Ending::BrowserLeft(code)),
                InputEnd::BrowserLost => return Poll::Ready(Ending::BrowserLost),
                InputEnd::BrowserBroke(violation) => return Poll::Ready(Ending::BrowserBroke(violation)),
                // Its last output and how it ended are still to be read.
                InputEnd::DeviceLost => self.device_is_deaf = true,
            }
        }
        self.output.poll(cx, &mut self.device, &mut self.browser).map(ending_of)
    }

    async fn finish(mut self, ending: Ending, survives: bool) -> Relayed {
        if let Some((code, reason)) = ending.close() {
            self.output.close(code, reason);
            let close = poll_fn(|cx| self.output.poll(cx, &mut self.device, &mut self.browser));
            // Whatever comes of it, the connection is cut next.
            drop(timeout(LAST_FRAME, close).await);
        }
        let mut unsent = self.input.take_unsent();
        if !survives {
            leave_device(&mut self.device, std::mem::take(&mut unsent)).await;
        }
        if ending.close().is_some() {
            drop(timeout(CLOSE_ANSWER, leave_browser(&mut self.browser)).await);
        }
        Relayed {
            ending,
            output_bytes: self.output.bytes,
            input_bytes: self.input.bytes,
            dropped_messages: self.input.dropped_messages,
            unsent,
        }
    }
}

/// Closes our side and reads on until the browser closed its own: a connection that is dropped with unread
/// bytes is reset, and a reset can overtake the Close that tells the browser why.
async fn leave_browser<B: AsyncRead + AsyncWrite + Unpin>(browser: &mut B) -> std::io::Result<()> {
    browser.shutdown().await?;
    let mut unread = browser.take(MAX_UNREAD_BYTES);
    let mut buffer = [0; 1024];
    while unread.read(&mut buffer).await? > 0 {}
    Ok(())
}

pub(crate) fn ending_of(end: OutputEnd) -> Ending {
    match end {
        // ttyd says how the process ended with codes that may not be on the wire, or with none at all.
        OutputEnd::DeviceEnded | OutputEnd::DeviceClosed(None | Some(1000 | 1001)) => Ending::ShellExited,
        OutputEnd::DeviceClosed(Some(_)) => Ending::DeviceRefused,
        OutputEnd::DeviceLost => Ending::DeviceLost,
        OutputEnd::DeviceBroke(violation) => Ending::DeviceBroke(violation),
        OutputEnd::BrowserLost => Ending::BrowserLost,
        // Comes only after `Output::close`, when the ending is known.
        OutputEnd::CloseSent => Ending::BrowserLeft(None),
    }
}
