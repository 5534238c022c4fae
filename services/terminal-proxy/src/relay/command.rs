//! What a browser may say to ttyd 1.7.7: the first byte of a message is the command.

use serde::Deserialize;

/// The smallest and the largest number of columns or rows that a device is told.
const SIZES: std::ops::RangeInclusive<i64> = 1..=1000;

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: i64,
    pub(crate) rows: i64,
}

impl Default for Size {
    /// ttyd's own, when it is told none.
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

impl Size {
    /// Writes ttyd's resize message.
    pub(super) fn to_resize(self) -> String {
        format!(r#"1{{"columns":{},"rows":{}}}"#, self.columns, self.rows)
    }

    /// Writes ttyd's first message, which starts the process. The token is empty: ttyd runs without a
    /// password, and nothing that a browser sends becomes one.
    pub(super) fn to_hello(self) -> String {
        format!(r#"{{"AuthToken":"","columns":{},"rows":{}}}"#, self.columns, self.rows)
    }

    /// Reads the sizes of a resize or of a first message, and brings them into range.
    fn parse(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Sizes {
            columns: i64,
            rows: i64,
        }
        let sizes: Sizes = serde_json::from_slice(json).ok()?;
        let in_range = |size: i64| size.clamp(*SIZES.start(), *SIZES.end());
        Some(Self {
            columns: in_range(sizes.columns),
            rows: in_range(sizes.rows),
        })
    }
}

/// A browser's message, understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// The first message, with sizes when they can be read.
    Hello(Option<Size>),
    /// Keystrokes or a paste: the message passes as it is.
    Input,
    /// The terminal has another size; none when it cannot be read.
    Resize(Option<Size>),
    /// PAUSE or RESUME. PAUSE does nothing in ttyd 1.7.7, and RESUME loses output that is on its way: the
    /// relay does not read from the device while the browser does not keep up, and needs neither.
    FlowControl,
    /// Output up to this number has been seen; only where output is numbered (`tty.resume.v1`).
    Acknowledged(u64),
    /// Nothing that ttyd knows.
    Unknown,
}

impl Command {
    pub(crate) fn parse(message: &[u8]) -> Self {
        match message {
            [b'0', ..] => Self::Input,
            [b'1', json @ ..] => Self::Resize(Size::parse(json)),
            [b'2' | b'3', ..] => Self::FlowControl,
            [b'4', digits @ ..] => parse_number(digits).map_or(Self::Unknown, Self::Acknowledged),
            [b'{', ..] => Self::Hello(Size::parse(message)),
            _ => Self::Unknown,
        }
    }
}

/// At most 20 digits, and nothing else.
fn parse_number(digits: &[u8]) -> Option<u64> {
    let is_number = digits.len() <= 20 && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_brought_into_range() {
        for (message, size) in [
            (r#"1{"columns":100,"rows":30}"#, Some((100, 30))),
            (r#"1{"columns":65536,"rows":65536}"#, Some((1000, 1000))),
            (r#"1{"columns":-4,"rows":0}"#, Some((1, 1))),
            (r#"1{"columns":80,"rows":24,"more":[]}"#, Some((80, 24))),
            (r#"1{"columns":NaN,"rows":24}"#, None),
            (r#"1{"columns":1e99,"rows":24}"#, None),
            (r#"1{"columns":"80","rows":24}"#, None),
            (r#"1{"columns":80}"#, None),
            ("1", None),
        ] {
            let size = size.map(|(columns, rows)| Size { columns, rows });
            assert_eq!(Command::parse(message.as_bytes()), Command::Resize(size), "{message}");
        }
    }

    #[test]
    fn every_other_first_byte_is_unknown() {
        for first in u8::MIN..=u8::MAX {
            let known = matches!(first, b'0'..=b'3' | b'{');
            assert_eq!(Command::parse(&[first, b'x']) != Command::Unknown, known, "{first}");
        }
        assert_eq!(Command::parse(b""), Command::Unknown);
    }

    #[test]
    fn an_acknowledgement_is_a_plain_number() {
        assert_eq!(Command::parse(b"40"), Command::Acknowledged(0));
        assert_eq!(
            Command::parse(b"418446744073709551615"),
            Command::Acknowledged(u64::MAX)
        );
        for message in ["4", "4+1", "4-1", "4 1", "41x", "418446744073709551616"] {
            assert_eq!(Command::parse(message.as_bytes()), Command::Unknown, "{message}");
        }
    }

    #[test]
    fn a_hello_is_written_by_us_whatever_the_browser_said() {
        let Command::Hello(Some(size)) = Command::parse(br#"{"AuthToken":"stolen","columns":132,"rows":43}"#) else {
            panic!("the first message has readable sizes");
        };
        assert_eq!(size.to_hello(), r#"{"AuthToken":"","columns":132,"rows":43}"#);
        assert_eq!(Command::parse(b"{bad"), Command::Hello(None));
    }
}
