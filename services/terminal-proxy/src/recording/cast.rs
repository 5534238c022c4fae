//! asciicast v2 (docs.asciinema.org/manual/asciicast/v2): a header line, then a line for each event.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use common::domain::{Digest, SessionId};
use serde::Serialize;

use super::{Batch, Event, EventKind};
use crate::relay::Size;

/// What stands in the header, besides the size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CastHead {
    pub(crate) session_id: SessionId,
    pub(crate) device_id: String,
    pub(crate) username: String,
    /// Unix seconds.
    pub(crate) began_at: i64,
}

/// Links a block of a recording to the hash before it; the first block's is all zeros.
pub(crate) fn chain(before: &Digest, block: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(&before.0);
    context.update(block);
    Digest(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

/// Turns batches into blocks of lines.
#[derive(Debug)]
pub(super) struct CastEncoder {
    head: Option<CastHead>,
    output: Utf8Stream,
    input: Utf8Stream,
}

impl CastEncoder {
    pub(super) fn new(head: CastHead) -> Self {
        Self {
            head: Some(head),
            output: Utf8Stream::default(),
            input: Utf8Stream::default(),
        }
    }

    /// Appends a batch to a block.
    pub(super) fn encode(&mut self, batch: &Batch, block: &mut String) {
        block.reserve(batch.bytes.len() + batch.bytes.len() / 8 + 256);
        self.begin(batch, block);
        let mut rest = batch.bytes.as_slice();
        for event in &batch.events {
            let (bytes, after) = rest.split_at(event.bytes.min(rest.len()));
            rest = after;
            self.event(event, bytes, block);
        }
    }

    /// The size stands in the header; the first event tells it.
    fn begin(&mut self, batch: &Batch, block: &mut String) {
        #[derive(Serialize)]
        struct Header<'head> {
            version: u8,
            width: i64,
            height: i64,
            timestamp: i64,
            title: &'head str,
            env: serde_json::Value,
            session: SessionId,
            username: &'head str,
        }
        let Some(head) = self.head.take() else { return };
        let first = batch.events.first().map(|event| event.kind);
        let size = match first {
            Some(EventKind::Resized(size)) => size,
            Some(EventKind::Output | EventKind::Input) | None => Size::default(),
        };
        let header = Header {
            version: 2,
            width: size.columns,
            height: size.rows,
            timestamp: head.began_at,
            title: &head.device_id,
            env: serde_json::json!({ "TERM": "xterm-256color" }),
            session: head.session_id,
            username: &head.username,
        };
        block.push_str(&serde_json::to_string(&header).expect("text and numbers"));
        block.push('\n');
    }

    fn event(&mut self, event: &Event, bytes: &[u8], block: &mut String) {
        let at = event.at.as_secs_f64();
        let begin = block.len();
        let (code, stream) = match event.kind {
            EventKind::Output => ('o', &mut self.output),
            EventKind::Input => ('i', &mut self.input),
            EventKind::Resized(size) => {
                writeln!(block, r#"[{at:.6}, "r", "{}x{}"]"#, size.columns, size.rows)
                    .expect("writing to a String does not fail");
                return;
            }
        };
        write!(block, r#"[{at:.6}, "{code}", ""#).expect("writing to a String does not fail");
        let text_begin = block.len();
        stream.append(bytes, block);
        if block.len() == text_begin {
            block.truncate(begin); // only the beginning of a character
            return;
        }
        block.push_str("\"]\n");
    }
}

/// Bytes on their way to text: a character may be cut between two events.
#[derive(Debug, Default)]
struct Utf8Stream {
    begun: Vec<u8>,
}

impl Utf8Stream {
    fn append(&mut self, bytes: &[u8], to: &mut String) {
        let joined;
        let mut rest = if self.begun.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.begun).as_slice(), bytes].concat();
            &joined
        };
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    escape(text, to);
                    return;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    escape(std::str::from_utf8(good).unwrap_or_default(), to);
                    let Some(length) = error.error_len() else {
                        self.begun = bad.to_vec();
                        return;
                    };
                    to.push('\u{fffd}');
                    rest = bad.get(length..).unwrap_or_default();
                }
            }
        }
    }
}

/// Writes text as it stands in a JSON string (RFC 8259 §7), long plain runs at once.
fn escape(text: &str, to: &mut String) {
    let mut plain = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(step) = bytes.get(at..).and_then(first_to_escape) {
        at += step;
        to.push_str(text.get(plain..at).unwrap_or_default());
        match bytes.get(at).copied().unwrap_or_default() {
            b'"' => to.push_str("\\\""),
            b'\\' => to.push_str("\\\\"),
            b'\n' => to.push_str("\\n"),
            b'\r' => to.push_str("\\r"),
            b'\t' => to.push_str("\\t"),
            control => write!(to, "\\u{control:04x}").expect("writing to a String does not fail"),
        }
        at += 1;
        plain = at;
    }
    to.push_str(text.get(plain..).unwrap_or_default());
}

/// Where the first byte is that does not stand for itself. A lane is looked at as a whole, without a branch for each
/// byte: that is ten times as fast where there is none.
fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    const LANE_BYTES: usize = 64;
    let needs = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\' || byte == 0x7f;
    let mut begin = 0;
    for lane in bytes.chunks(LANE_BYTES) {
        if lane.iter().fold(false, |found, byte| found | needs(*byte)) {
            let position = lane.iter().position(|byte| needs(*byte));
            return position.map(|position| begin + position);
        }
        begin += lane.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn batch(events: &[(EventKind, &[u8])]) -> Batch {
        let mut batch = Batch::default();
        for (index, (kind, bytes)) in events.iter().enumerate() {
            batch.events.push(Event {
                kind: *kind,
                at: Duration::from_millis(250) * u32::try_from(index).unwrap(),
                bytes: bytes.len(),
            });
            batch.bytes.extend_from_slice(bytes);
        }
        batch
    }

    fn encoder() -> CastEncoder {
        CastEncoder::new(CastHead {
            session_id: SessionId(uuid::Uuid::nil()),
            device_id: "pump-7".to_owned(),
            username: "ada".to_owned(),
            began_at: 1_790_000_000,
        })
    }

    fn encode(events: &[(EventKind, &[u8])]) -> String {
        let mut block = String::new();
        encoder().encode(&batch(events), &mut block);
        block
    }

    #[test]
    fn a_recording_is_asciicast_v2() {
        let size = EventKind::Resized(Size { columns: 100, rows: 30 });
        let block = encode(&[
            (size, b""),
            (EventKind::Output, b"$ \x1b[1mls\r\n"),
            (EventKind::Input, b"\x03\"\\"),
        ]);

        let lines: Vec<serde_json::Value> = block.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&lines[0]["version"], &lines[0]["width"], &lines[0]["height"]),
            (&2.into(), &100.into(), &30.into())
        );
        assert_eq!(lines[1], serde_json::json!([0.0, "r", "100x30"]));
        assert_eq!(lines[2], serde_json::json!([0.25, "o", "$ \x1b[1mls\r\n"]));
        assert_eq!(lines[3], serde_json::json!([0.5, "i", "\x03\"\\"]));
    }

    #[test]
    fn a_character_that_is_cut_between_two_events_is_whole_in_the_second() {
        let text = "añ€𝄞";
        for cut in 0..text.len() {
            let (first, second) = text.as_bytes().split_at(cut);
            let lines = encode(&[(EventKind::Output, first), (EventKind::Output, second)]);
            let shown: String = lines
                .lines()
                .skip(1)
                .map(|line| serde_json::from_str::<(f64, String, String)>(line).unwrap().2)
                .collect();
            assert_eq!(shown, text, "cut at {cut}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_never_break_a_line() {
        let every: Vec<u8> = (u8::MIN..=u8::MAX).collect();

        let text = encode(&[(EventKind::Output, &every)]);

        assert_eq!(text.lines().count(), 2);
        let (_, _, shown): (f64, String, String) = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        assert!(shown.starts_with("\0\u{1}\u{2}") && shown.contains('\u{fffd}'));
    }
}
