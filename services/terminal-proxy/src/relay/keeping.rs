//! A device without a browser: it hears that somebody is there, and what it shows is not lost while there is room.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::frame::{Opcode, append_close, append_frame};
use super::mask::fresh_mask;
use super::output::OutputEnd;
use super::pulse::{DEVICE_PING_TICKS, TICK, ticks};
use super::{LAST_FRAME, ending_of};
use crate::session::Ending;

/// A device that goes on without a browser.
pub(crate) trait Kept: AsyncWrite + Unpin {
    /// Takes what the device shows, until it ends.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<OutputEnd>;

    /// Whether anything was heard of the device since this was asked.
    fn was_heard(&mut self) -> bool;
}

/// Keeps a device until something ends it or `done` has a result; frames that were on their way to it are in
/// `unsent`, before and after.
pub(crate) async fn keep<D: Kept, T>(
    device: &mut D,
    unsent: &mut Vec<u8>,
    silence: Duration,
    done: impl Future<Output = T>,
) -> Result<T, Ending> {
    let mut done = pin!(done);
    let mut beats = interval_at(Instant::now() + TICK, TICK);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut beat, mut silent) = (0_u32, 0_u32);
    poll_fn(|cx| {
        if let Poll::Ready(result) = done.as_mut().poll(cx) {
            return Poll::Ready(Ok(result));
        }
        while beats.poll_tick(cx).is_ready() {
            beat = beat.wrapping_add(1);
            silent = if device.was_heard() { 0 } else { silent + 1 };
            if silent >= ticks(silence) {
                return Poll::Ready(Err(Ending::DeviceLost));
            }
            if unsent.is_empty() {
                sign_of_life(unsent);
                if beat.is_multiple_of(DEVICE_PING_TICKS) {
                    append_frame(unsent, Opcode::Ping, Some(fresh_mask()), &[]);
                }
            }
        }
        if poll_send(cx, device, unsent).is_err() {
            return Poll::Ready(Err(Ending::DeviceLost));
        }
        device.poll_take(cx).map(|end| Err(ending_of(end)))
    })
    .await
}

/// Adds what keeps a device's ttyd from giving up behind the frames that are on their way to it.
pub(crate) fn sign_of_life(unsent: &mut Vec<u8>) {
    append_frame(unsent, Opcode::Pong, Some(fresh_mask()), &[]);
}

/// Says Close to a device and leaves it; ttyd ends the process when its connection closes.
pub(crate) async fn leave_device<D: AsyncWrite + Unpin>(device: &mut D, mut unsent: Vec<u8>) {
    append_close(&mut unsent, Some(fresh_mask()), 1000, "");
    let leave = async {
        device.write_all(&unsent).await?;
        device.shutdown().await
    };
    // A device that takes nothing loses its connection next.
    drop(timeout(LAST_FRAME, leave).await);
}

/// Sends as much as the device takes.
fn poll_send<D: AsyncWrite + Unpin>(cx: &mut Context<'_>, device: &mut D, unsent: &mut Vec<u8>) -> std::io::Result<()> {
    while !unsent.is_empty() {
        match Pin::new(&mut *device).poll_write(cx, unsent) {
            Poll::Pending => return Ok(()),
            Poll::Ready(result) => {
                let taken = result?;
                if taken == 0 {
                    return Err(std::io::ErrorKind::WriteZero.into());
                }
                unsent.drain(..taken);
            }
        }
    }
    // Pending is fine: the next beat tries again.
    match Pin::new(device).poll_flush(cx) {
        Poll::Ready(result) => result,
        Poll::Pending => Ok(()),
    }
}
