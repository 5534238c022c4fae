//! The relay's sense of time: everything that is slow, silent or idle is counted in ticks, so that a frame
//! costs no look at a clock.

use std::time::Duration;

use super::frame::{Opcode, Violation, append_frame};
use super::input::Input;
use super::output::Output;
use crate::session::Ending;

/// ttyd 1.7.7 hangs up on a client whose sign of life is late, also while that client only waits for a slow
/// browser; a Pong every 2 to 3 s keeps it there.
pub(super) const TICK: Duration = Duration::from_millis(2500);

/// Every so many ticks the device is asked for a sign of life.
pub(super) const DEVICE_PING_TICKS: u32 = 6;

/// Every so many ticks the browser is asked for a sign of life.
const BROWSER_PING_TICKS: u32 = 8;

/// Ticks in a row that a browser may send more frames than its share.
const MAX_THROTTLED_TICKS: u32 = 4;

/// How long something may last before the session ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Nothing typed and nothing shown.
    pub(crate) idle: Duration,
    /// Data is there, and the other side does not take it.
    pub(crate) write_stall: Duration,
    /// Not even an answer to a Ping.
    pub(crate) silence: Duration,
}

#[derive(Debug)]
pub(super) struct Pulse {
    idle_limit: u32,
    stall_limit: u32,
    silence_limit: u32,
    ticks: u32,
    idle: u32,
    browser_stalled: u32,
    device_stalled: u32,
    browser_silent: u32,
    device_silent: u32,
    throttled: u32,
}

impl Pulse {
    pub(super) fn new(patience: &Patience) -> Self {
        Self {
            idle_limit: ticks(patience.idle),
            stall_limit: ticks(patience.write_stall),
            silence_limit: ticks(patience.silence),
            ticks: 0,
            idle: 0,
            browser_stalled: 0,
            device_stalled: 0,
            browser_silent: 0,
            device_silent: 0,
            throttled: 0,
        }
    }

    /// Looks at what happened since the last tick; returns why the session has to end, if it has to.
    pub(super) fn beat(&mut self, input: &mut Input<'_>, output: &mut Output) -> Option<Ending> {
        let typed = std::mem::take(&mut input.news);
        let shown = std::mem::take(&mut output.news);
        let input_rests = input.is_blocked() || input.is_throttled();
        count(&mut self.idle, !typed.data && !shown.data);
        count(&mut self.browser_stalled, output.is_blocked() && !shown.browser_resumed);
        count(&mut self.device_stalled, input.is_blocked() && !typed.device_took);
        count(
            &mut self.browser_silent,
            !typed.browser_heard && !shown.browser_resumed && !input_rests,
        );
        count(&mut self.device_silent, !shown.device_heard && !output.is_blocked());
        count(&mut self.throttled, input.is_throttled());
        input.refill();
        self.ask_for_life(input, output);
        self.verdict()
    }

    fn ask_for_life(&mut self, input: &mut Input<'_>, output: &mut Output) {
        self.ticks = self.ticks.wrapping_add(1);
        if !input.is_blocked() {
            input.send_control(Opcode::Pong);
            if self.ticks.is_multiple_of(DEVICE_PING_TICKS) {
                input.send_control(Opcode::Ping);
            }
        }
        if self.ticks.is_multiple_of(BROWSER_PING_TICKS) {
            output.inject(|frames| append_frame(frames, Opcode::Ping, None, &[]));
        }
    }

    fn verdict(&self) -> Option<Ending> {
        if self.throttled > MAX_THROTTLED_TICKS {
            Some(Ending::BrowserBroke(Violation::TooMany))
        } else if self.browser_stalled >= self.stall_limit {
            Some(Ending::BrowserStalled)
        } else if self.device_stalled >= self.stall_limit {
            Some(Ending::DeviceStalled)
        } else if self.browser_silent >= self.silence_limit {
            Some(Ending::BrowserLost)
        } else if self.device_silent >= self.silence_limit {
            Some(Ending::DeviceLost)
        } else if self.idle >= self.idle_limit {
            Some(Ending::Idle)
        } else {
            None
        }
    }
}

fn count(counter: &mut u32, goes_on: bool) {
    *counter = if goes_on { counter.saturating_add(1) } else { 0 };
}

pub(super) fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(TICK.as_millis()))
        .unwrap_or(u32::MAX)
        .max(1)
}
