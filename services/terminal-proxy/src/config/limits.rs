use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use common::chassis::config::ConfigError;

use crate::relay::{Patience, RelayLimits};

/// A device's frames are at most 4 KiB (ttyd 1.7.7); another server's may be larger, up to this.
const MAX_DEVICE_FRAME_BYTES: u64 = 256 * 1024;

/// Most fragments of a browser's message; browsers do not send any.
const MAX_FRAGMENTS: u32 = 64;

/// What a session and the whole process may cost.
#[derive(Debug, Clone, Args)]
pub struct Limits {
    /// Most sessions of this process.
    #[arg(long, env = "MAX_SESSIONS", default_value_t = 2000, global = true)]
    pub max_sessions: usize,
    /// Most sessions of one person in this process.
    #[arg(long, env = "MAX_SESSIONS_PER_USER", default_value_t = 16, global = true)]
    pub max_sessions_per_user: usize,
    /// Most sessions on one device in this process.
    #[arg(long, env = "MAX_SESSIONS_PER_DEVICE", default_value_t = 8, global = true)]
    pub max_sessions_per_device: usize,
    /// Longest session, in seconds.
    #[arg(long, env = "SESSION_MAX_SECONDS", default_value_t = 8 * 60 * 60, global = true)]
    pub session_max_seconds: u64,
    /// A session in which nothing is typed and nothing is shown ends after so many seconds.
    #[arg(long, env = "SESSION_IDLE_SECONDS", default_value_t = 15 * 60, global = true)]
    pub session_idle_seconds: u64,
    /// How long a process on a device goes on without a browser, in seconds, so that its person can come back to it
    /// after a lost network or a reloaded page; 0 ends it at once.
    #[arg(long, env = "RESUME_SECONDS", default_value_t = 5 * 60, global = true)]
    pub resume_seconds: u64,
    /// How much of a session's last output is kept for whoever comes back or watches, in bytes.
    #[arg(long, env = "RESUME_BUFFER_BYTES", default_value_t = 256 * 1024, global = true)]
    pub resume_buffer_bytes: usize,
    /// A side that does not take what is there for it loses the session after so many seconds.
    #[arg(long, env = "WRITE_STALL_SECONDS", default_value_t = 30, global = true)]
    pub write_stall_seconds: u64,
    /// A side that answers no ping loses the session after so many seconds.
    #[arg(long, env = "SILENCE_SECONDS", default_value_t = 45, global = true)]
    pub silence_seconds: u64,
    /// What a device gets to answer its terminal's handshake, in seconds.
    #[arg(long, env = "CONNECT_TIMEOUT_SECONDS", default_value_t = 5, global = true)]
    pub connect_timeout_seconds: u64,
    /// Longest message of a browser, in bytes.
    #[arg(long, env = "MAX_MESSAGE_BYTES", default_value_t = 64 * 1024, global = true)]
    pub max_message_bytes: usize,
    /// Frames that a browser may send per second; more wait, and a flood ends the session.
    #[arg(long, env = "MAX_FRAMES_PER_SECOND", default_value_t = 4000, global = true)]
    pub max_frames_per_second: u32,
    /// How long a ticket is good, in seconds.
    #[arg(long, env = "TICKET_SECONDS", default_value_t = 30, global = true)]
    pub ticket_seconds: u64,
    /// Longest lifetime of an access token that is believed, in seconds.
    #[arg(long, env = "TOKEN_MAX_LIFETIME_SECONDS", default_value_t = 5 * 60, global = true)]
    pub token_max_lifetime_seconds: u64,
    /// How often the issuer is asked whether the people behind sessions still have their role and groups, in seconds; 0
    /// believes tokens until they end.
    #[arg(long, env = "ACCESS_CHECK_SECONDS", default_value_t = 20, global = true)]
    pub access_check_seconds: u64,
    /// How long sessions go on while the database does not answer, in seconds.
    #[arg(long, env = "DIRECTORY_PATIENCE_SECONDS", default_value_t = 30, global = true)]
    pub directory_patience_seconds: u64,
    /// Wrong credentials that one client may present per minute.
    #[arg(long, env = "MAX_FAILURES_PER_MINUTE", default_value_t = 50, global = true)]
    pub max_failures_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sessions: 2000,
            max_sessions_per_user: 16,
            max_sessions_per_device: 8,
            session_max_seconds: 8 * 60 * 60,
            session_idle_seconds: 15 * 60,
            resume_seconds: 5 * 60,
            resume_buffer_bytes: 256 * 1024,
            write_stall_seconds: 30,
            silence_seconds: 45,
            connect_timeout_seconds: 5,
            max_message_bytes: 64 * 1024,
            max_frames_per_second: 4000,
            ticket_seconds: 30,
            token_max_lifetime_seconds: 5 * 60,
            access_check_seconds: 20,
            directory_patience_seconds: 30,
            max_failures_per_minute: 50,
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let ranges = self.ranges();
        match ranges.iter().find(|(_, value, range)| !range.contains(value)) {
            Some((name, _, range)) => Err(ConfigError::new(format!(
                "`{name}` has to be between {} and {}.",
                range.start(),
                range.end()
            ))),
            None => Ok(()),
        }
    }

    /// Each setting with its value and what it may be.
    fn ranges(&self) -> [(&'static str, u64, RangeInclusive<u64>); 17] {
        const DAY: u64 = 24 * 60 * 60;
        const MANY: u64 = 1_000_000;
        [
            ("MAX_SESSIONS", self.max_sessions as u64, 1..=MANY),
            ("MAX_SESSIONS_PER_USER", self.max_sessions_per_user as u64, 1..=MANY),
            ("MAX_SESSIONS_PER_DEVICE", self.max_sessions_per_device as u64, 1..=MANY),
            ("SESSION_MAX_SECONDS", self.session_max_seconds, 1..=30 * DAY),
            ("SESSION_IDLE_SECONDS", self.session_idle_seconds, 1..=30 * DAY),
            ("RESUME_SECONDS", self.resume_seconds, 0..=DAY),
            (
                "RESUME_BUFFER_BYTES",
                self.resume_buffer_bytes as u64,
                16 * 1024..=16 * 1024 * 1024,
            ),
            ("WRITE_STALL_SECONDS", self.write_stall_seconds, 1..=DAY),
            ("SILENCE_SECONDS", self.silence_seconds, 25..=DAY),
            ("CONNECT_TIMEOUT_SECONDS", self.connect_timeout_seconds, 1..=60),
            ("MAX_MESSAGE_BYTES", self.max_message_bytes as u64, 1..=1024 * 1024),
            ("MAX_FRAMES_PER_SECOND", self.max_frames_per_second.into(), 1..=MANY),
            ("TICKET_SECONDS", self.ticket_seconds, 1..=10 * 60),
            ("TOKEN_MAX_LIFETIME_SECONDS", self.token_max_lifetime_seconds, 1..=DAY),
            ("ACCESS_CHECK_SECONDS", self.access_check_seconds, 0..=45),
            (
                "DIRECTORY_PATIENCE_SECONDS",
                self.directory_patience_seconds,
                // The database is asked every 2 s.
                3..=60 * 60,
            ),
            ("MAX_FAILURES_PER_MINUTE", self.max_failures_per_minute.into(), 1..=MANY),
        ]
    }

    /// What a device gets to answer its terminal's handshake.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_seconds)
    }

    /// Longest lifetime of an access token that is believed.
    pub fn max_token_lifetime(&self) -> Duration {
        Duration::from_secs(self.token_max_lifetime_seconds)
    }

    pub(crate) fn ticket_lifetime(&self) -> Duration {
        Duration::from_secs(self.ticket_seconds)
    }

    pub(crate) fn max_session(&self) -> Duration {
        Duration::from_secs(self.session_max_seconds)
    }

    pub(crate) fn resume(&self) -> Duration {
        Duration::from_secs(self.resume_seconds)
    }

    /// How often the people behind sessions are asked about.
    pub fn access_check(&self) -> Duration {
        Duration::from_secs(self.access_check_seconds.max(1))
    }

    pub(crate) fn directory_patience(&self) -> Duration {
        Duration::from_secs(self.directory_patience_seconds)
    }

    pub(crate) fn relay(&self) -> RelayLimits {
        RelayLimits {
            max_message_bytes: self.max_message_bytes,
            max_fragments: MAX_FRAGMENTS,
            max_frames_per_second: self.max_frames_per_second,
            max_device_frame_bytes: MAX_DEVICE_FRAME_BYTES,
            patience: Patience {
                idle: Duration::from_secs(self.session_idle_seconds),
                write_stall: Duration::from_secs(self.write_stall_seconds),
                silence: Duration::from_secs(self.silence_seconds),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::config::Config;

    #[test]
    fn every_limit_has_a_limit_on_both_sides() {
        for (name, _, range) in Limits::default().ranges() {
            let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
            let with = |value: u64| {
                let argument = format!("{flag}={value}");
                let config = Config::try_parse_from(["terminal-proxy", &argument]);
                config
                    .map_err(|error| error.to_string())?
                    .limits
                    .check()
                    .map_err(|error| error.to_string())
            };

            assert_eq!(with(*range.start()), Ok(()), "{name}");
            assert_eq!(with(*range.end()), Ok(()), "{name}");
            let above = with(range.end() + 1).unwrap_err();
            assert!(above.contains(name), "{name}: {above}");
            if let Some(below) = range.start().checked_sub(1) {
                let below = with(below).unwrap_err();
                assert!(below.contains(name), "{name}: {below}");
            }
        }
    }

    #[test]
    fn the_defaults_of_the_manual_are_those_of_the_library() {
        let config = Config::try_parse_from(["terminal-proxy"]).unwrap();

        assert_eq!(format!("{:?}", config.limits), format!("{:?}", Limits::default()));
    }
}
