use crate::relay::Violation;

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process on the device ended.
    ShellExited,
    /// The page said Close, with this code.
    BrowserLeft(Option<u16>),
    /// The connection to the browser broke, or it does not answer.
    BrowserLost,
    /// The browser broke the protocol.
    BrowserBroke(Violation),
    /// The device broke the protocol.
    DeviceBroke(Violation),
    /// The device closed with a complaint.
    DeviceRefused,
    /// The connection to the device broke, or it does not answer.
    DeviceLost,
    /// The token that opened it ended.
    TokenExpired,
    /// A person ordered its end.
    Killed,
    /// The person may no longer open the device, or the device has a new identity.
    AccessLost,
    /// The device was decommissioned.
    DeviceRetired,
    /// Nothing was typed or shown for too long.
    Idle,
    /// The browser did not take what was there for it.
    BrowserStalled,
    /// The device did not take what was there for it.
    DeviceStalled,
    /// The person went on elsewhere: in another tab, on another machine, or after the network came back.
    Continued,
    /// It has to be recorded and cannot be.
    NotRecorded,
    /// It reached its longest duration.
    TooLong,
    /// The proxy stops.
    Draining,
    /// The database does not answer, so that nobody knows whether it may go on.
    DirectoryLost,
}

impl Ending {
    /// Whether only the browser is gone, so that the person may come back to the process. A page that closes its
    /// terminal for good says 1000; one that is reloaded or left says 1001.
    pub(crate) fn is_of_browser_alone(self) -> bool {
        match self {
            Self::BrowserLost | Self::BrowserStalled | Self::BrowserLeft(Some(1001)) | Self::Continued => true,
            Self::ShellExited
            | Self::BrowserLeft(_)
            | Self::BrowserBroke(_)
            | Self::DeviceBroke(_)
            | Self::DeviceRefused
            | Self::DeviceLost
            | Self::TokenExpired
            | Self::Killed
            | Self::AccessLost
            | Self::DeviceRetired
            | Self::Idle
            | Self::DeviceStalled
            | Self::NotRecorded
            | Self::TooLong
            | Self::Draining
            | Self::DirectoryLost => false,
        }
    }

    /// What the browser is told: a close code and a word. None when there is nobody to tell.
    pub(crate) fn close(self) -> Option<(u16, &'static str)> {
        match self {
            Self::ShellExited => Some((1000, "shell-exited")),
            Self::BrowserLeft(code) => Some((code.unwrap_or(1000), "")),
            Self::BrowserLost => None,
            Self::BrowserBroke(violation) => Some((violation.close_code(), "protocol-violation")),
            Self::DeviceBroke(_) => Some((1011, "device-bad-frame")),
            Self::DeviceRefused => Some((1011, "device-refused")),
            Self::DeviceLost => Some((1011, "device-lost")),
            Self::Draining => Some((1012, "proxy-restarts")),
            Self::DirectoryLost => Some((1012, "directory-unavailable")),
            Self::TokenExpired => Some((4401, "token-expired")),
            Self::Killed => Some((4403, "killed")),
            Self::AccessLost => Some((4403, "access-lost")),
            Self::DeviceRetired => Some((4404, "device-decommissioned")),
            Self::Idle => Some((4408, "idle")),
            Self::BrowserStalled | Self::DeviceStalled => Some((4408, "stalled")),
            Self::Continued => Some((4409, "continued-elsewhere")),
            Self::NotRecorded => Some((1011, "recording-failed")),
            Self::TooLong => Some((4408, "session-too-long")),
        }
    }

    /// The word in the session's record, in the log and in the metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::ShellExited => "shell_exited",
            Self::BrowserLeft(_) => "browser_left",
            Self::BrowserLost => "browser_lost",
            Self::BrowserBroke(_) => "browser_broke_protocol",
            Self::DeviceBroke(_) => "device_broke_protocol",
            Self::DeviceRefused => "device_refused",
            Self::DeviceLost => "device_lost",
            Self::TokenExpired => "token_expired",
            Self::Killed => "killed",
            Self::AccessLost => "access_lost",
            Self::DeviceRetired => "device_retired",
            Self::Idle => "idle",
            Self::BrowserStalled => "browser_stalled",
            Self::DeviceStalled => "device_stalled",
            Self::Continued => "continued",
            Self::NotRecorded => "recording_failed",
            Self::TooLong => "too_long",
            Self::Draining => "draining",
            Self::DirectoryLost => "directory_lost",
        }
    }
}
