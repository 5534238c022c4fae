//! ttyd's messages: one command byte, then the payload (ttyd 1.7.7, `src/server.h`).

use bytes::Bytes;
use serde_json::Value;

/// Command byte of an output frame.
pub(super) const OUTPUT: u8 = b'0';

/// Command byte of the title frame.
pub(super) const TITLE: u8 = b'1';

/// The preferences frame that ttyd sends when it was started without `-t`.
pub(super) const NO_PREFERENCES: &[u8] = b"2{ }";

/// The size of a terminal window, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowSize {
    pub(super) columns: u16,
    pub(super) rows: u16,
}

impl WindowSize {
    /// Larger windows are cut to this: programs allocate by the window's size.
    const MAX: u64 = 1000;

    /// What a client gets that names no size.
    pub(super) const DEFAULT: Self = Self { columns: 80, rows: 24 };

    fn of_resize(json: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(json).ok()?;
        Some(Self {
            columns: dimension(&value, "columns")?,
            rows: dimension(&value, "rows")?,
        })
    }

    /// ttyd starts the process whatever the text after `{` is.
    fn of_start(json: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(json).unwrap_or_default();
        Self {
            columns: dimension(&value, "columns").unwrap_or(Self::DEFAULT.columns),
            rows: dimension(&value, "rows").unwrap_or(Self::DEFAULT.rows),
        }
    }
}

fn dimension(value: &Value, name: &str) -> Option<u16> {
    let number = value.get(name)?.as_u64()?;
    let cut = u16::try_from(number.min(WindowSize::MAX)).expect("the maximum fits into 16 bits");
    (cut > 0).then_some(cut)
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientMessage {
    /// Start the shell. ttyd's own token is not looked at (it runs without `-c`).
    Start(WindowSize),
    /// Keystrokes.
    Input(Bytes),
    /// The window has another size now.
    Resize(WindowSize),
    /// Pause and resume (which lose output in ttyd 1.7.7), and what nobody knows.
    Ignored,
}

impl ClientMessage {
    /// Reads a message; nothing a client can send is an error.
    pub(super) fn read(payload: &Bytes) -> Self {
        match payload.first() {
            Some(b'{') => Self::Start(WindowSize::of_start(payload)),
            Some(b'0') => Self::Input(payload.slice(1..)),
            Some(b'1') => WindowSize::of_resize(&payload.slice(1..)).map_or(Self::Ignored, Self::Resize),
            Some(_) | None => Self::Ignored,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ClientMessage {
        ClientMessage::read(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn the_first_message_starts_the_shell_even_when_it_is_malformed() {
        let size = WindowSize { columns: 100, rows: 30 };
        assert_eq!(
            read(r#"{"AuthToken":"","columns":100,"rows":30}"#),
            ClientMessage::Start(size)
        );
        for text in ["{}", "{bad", r#"{"columns":-1,"rows":"x"}"#] {
            assert_eq!(read(text), ClientMessage::Start(WindowSize::DEFAULT), "{text}");
        }
    }

    #[test]
    fn a_size_that_no_window_has_is_dropped_or_cut() {
        let cut = WindowSize {
            columns: 1000,
            rows: 1000,
        };
        assert_eq!(read(r#"1{"columns":65536,"rows":65536}"#), ClientMessage::Resize(cut));
        for text in [
            r#"1{"columns":0,"rows":24}"#,
            r#"1{"columns":80}"#,
            "1{\"columns\":NaN}",
            "1",
        ] {
            assert_eq!(read(text), ClientMessage::Ignored, "{text}");
        }
    }

    #[test]
    fn pause_resume_and_unknown_commands_are_ignored() {
        for text in ["2", "3", "9", "", "\u{1b}"] {
            assert_eq!(read(text), ClientMessage::Ignored, "{text:?}");
        }
    }
}
