//! Reads a browser's frames into messages, with a cap on everything.

use super::frame::{
    Header, MAX_CONTROL_BYTES, MAX_HEADER_BYTES, MessageOrder, Opcode, Violation, apply_mask, close_code, header_bytes,
    read_header,
};

/// Memory that a session keeps between two messages; keystrokes fit, a paste gives its memory back.
const KEPT_MESSAGE_BYTES: usize = 256;

/// What a browser sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'reader> {
    /// A whole message.
    Message(&'reader [u8]),
    /// Wants to hear the same bytes back.
    Ping(&'reader [u8]),
    /// A sign of life.
    Pong,
    /// Leaves, with a code or without.
    Close(Option<u16>),
}

/// The caps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageLimits {
    /// Longest message, all its fragments together.
    pub(crate) max_message_bytes: usize,
    /// Most fragments of a message.
    pub(crate) max_fragments: u32,
}

/// A stream of frames on its way to messages.
#[derive(Debug)]
pub(crate) struct MessageReader {
    limits: MessageLimits,
    head: [u8; MAX_HEADER_BYTES],
    head_bytes: usize,
    frame: Option<Frame>,
    order: MessageOrder,
    is_text: bool,
    message: Vec<u8>,
    fragments: u32,
    control: [u8; MAX_CONTROL_BYTES],
    /// Frames seen since somebody last reset it.
    pub(crate) frames: u32,
}

/// A frame whose payload is on its way.
#[derive(Debug, Clone, Copy)]
struct Frame {
    header: Header,
    mask: [u8; 4],
    payload_bytes: usize,
    received: usize,
}

impl MessageReader {
    pub(crate) fn new(limits: MessageLimits) -> Self {
        Self {
            limits,
            head: [0; MAX_HEADER_BYTES],
            head_bytes: 0,
            frame: None,
            order: MessageOrder::default(),
            is_text: false,
            message: Vec::new(),
            fragments: 0,
            control: [0; MAX_CONTROL_BYTES],
            frames: 0,
        }
    }

    /// Takes bytes from the front of `input` until something is complete; none when `input` is used up.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Received<'_>>, Violation> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.next_frame(input)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let frame = self.take_payload(frame, input);
            if frame.received < frame.payload_bytes {
                self.frame = Some(frame);
                return Ok(None);
            }
            self.frame = None;
            match frame.header.opcode {
                Opcode::Close | Opcode::Ping | Opcode::Pong => return self.control_frame(&frame).map(Some),
                Opcode::Continuation | Opcode::Text | Opcode::Binary if frame.header.fin => {
                    if self.is_text && std::str::from_utf8(&self.message).is_err() {
                        return Err(Violation::NotUtf8);
                    }
                    return Ok(Some(Received::Message(&self.message)));
                }
                Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
            }
        }
    }

    fn next_frame(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
        self.fill_head(2, input);
        if let [_, second, ..] = self.head
            && self.head_bytes >= 2
        {
            self.fill_head(header_bytes(second), input);
        }
        let Some((header, _)) = read_header(self.head.get(..self.head_bytes).unwrap_or_default())? else {
            return Ok(None);
        };
        self.head_bytes = 0;
        self.frames = self.frames.saturating_add(1);
        let mask = header.mask.ok_or(Violation::Unmasked)?;
        self.order.accept(&header)?;
        let payload_bytes = usize::try_from(header.payload_bytes).map_err(|_| Violation::TooLarge)?;
        self.begin(&header, payload_bytes)?;
        Ok(Some(Frame {
            header,
            mask,
            payload_bytes,
            received: 0,
        }))
    }

    fn fill_head(&mut self, wanted: usize, input: &mut &[u8]) {
        while self.head_bytes < wanted
            && let Some((byte, rest)) = input.split_first()
            && let Some(place) = self.head.get_mut(self.head_bytes)
        {
            *place = *byte;
            self.head_bytes += 1;
            *input = rest;
        }
    }

    /// Begins or continues a message; the cap is checked before a byte of it is kept.
    fn begin(&mut self, header: &Header, payload_bytes: usize) -> Result<(), Violation> {
        if header.opcode.is_control() {
            return Ok(());
        }
        if header.opcode != Opcode::Continuation {
            self.is_text = header.opcode == Opcode::Text;
            self.fragments = 0;
            self.message.clear();
            self.message.shrink_to(KEPT_MESSAGE_BYTES);
        }
        self.fragments += 1;
        if self.fragments > self.limits.max_fragments {
            return Err(Violation::TooMany);
        }
        if payload_bytes > self.limits.max_message_bytes - self.message.len() {
            return Err(Violation::TooLarge);
        }
        Ok(())
    }

    fn take_payload(&mut self, mut frame: Frame, input: &mut &[u8]) -> Frame {
        let (now, later) = input.split_at(input.len().min(frame.payload_bytes - frame.received));
        *input = later;
        let target = if frame.header.opcode.is_control() {
            let target = self
                .control
                .get_mut(frame.received..frame.received + now.len())
                .unwrap_or_default();
            target.copy_from_slice(now);
            target
        } else {
            let begin = self.message.len();
            self.message.extend_from_slice(now);
            self.message.get_mut(begin..).unwrap_or_default()
        };
        apply_mask(target, frame.mask, frame.received);
        frame.received += now.len();
        frame
    }

    fn control_frame(&self, frame: &Frame) -> Result<Received<'_>, Violation> {
        let payload = self.control.get(..frame.payload_bytes).unwrap_or_default();
        match frame.header.opcode {
            Opcode::Close => close_code(payload).map(Received::Close),
            Opcode::Ping => Ok(Received::Ping(payload)),
            Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => Ok(Received::Pong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::frame::{append_close, append_frame};

    const LIMITS: MessageLimits = MessageLimits {
        max_message_bytes: 64 * 1024,
        max_fragments: 64,
    };
    const MASK: Option<[u8; 4]> = Some([7, 77, 0, 200]);

    /// Reads a stream in two pieces and tells what came, in words.
    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, Violation> {
        let mut reader = MessageReader::new(LIMITS);
        let mut seen = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(received) = reader.next(&mut piece)? {
                seen.push(match received {
                    Received::Message(bytes) => format!("message {}", String::from_utf8_lossy(bytes)),
                    Received::Ping(bytes) => format!("ping {}", String::from_utf8_lossy(bytes)),
                    Received::Pong => "pong".to_owned(),
                    Received::Close(code) => format!("close {code:?}"),
                });
            }
        }
        Ok(seen)
    }

    fn fragment(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        append_frame(&mut frame, Opcode::Binary, MASK, &[payload]);
        frame[0] = if fin { 0x80 | opcode } else { opcode };
        frame
    }

    #[test]
    fn at_every_split_the_messages_are_the_same() {
        let mut stream = fragment(false, 0x1, b"0he");
        stream.extend(fragment(true, 0x9, b"still there?"));
        stream.extend(fragment(true, 0x0, b"llo"));
        append_frame(&mut stream, Opcode::Binary, MASK, &[&[b'x'; 200]]);
        append_frame(&mut stream, Opcode::Pong, MASK, &[]);
        append_close(&mut stream, MASK, 1001, "");
        let long = format!("message {}", "x".repeat(200));
        for split in 0..=stream.len() {
            let (first, second) = stream.split_at(split);
            let seen = read(&[first, second]).unwrap();
            assert_eq!(
                seen,
                ["ping still there?", "message 0hello", &long, "pong", "close Some(1001)"]
            );
        }
    }

    #[test]
    fn a_message_over_the_cap_is_refused_before_it_is_kept() {
        let mut largest = Vec::new();
        append_frame(&mut largest, Opcode::Binary, MASK, &[&vec![b'x'; 64 * 1024]]);
        assert_eq!(read(&[&largest]).unwrap().len(), 1);

        let one_more = [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1, 7, 7, 7, 7];
        let huge = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 7, 7, 7, 7];
        assert_eq!(read(&[&one_more]), Err(Violation::TooLarge));
        assert_eq!(read(&[&huge]), Err(Violation::TooLarge));

        let mut in_pieces = fragment(false, 0x2, &vec![b'x'; 40_000]);
        in_pieces.extend(fragment(true, 0x0, &vec![b'x'; 40_000]));
        assert_eq!(read(&[&in_pieces]), Err(Violation::TooLarge));
    }

    #[test]
    fn endless_fragments_are_refused_even_when_they_are_empty() {
        let mut stream = fragment(false, 0x2, b"0");
        for _ in 0..64 {
            stream.extend(fragment(false, 0x0, b""));
        }
        assert_eq!(read(&[&stream]), Err(Violation::TooMany));
    }

    #[test]
    fn what_rfc_6455_forbids_to_a_client_is_refused() {
        let mut bad_close = Vec::new();
        append_close(&mut bad_close, MASK, 1006, "");
        for (stream, violation) in [
            (vec![0x82, 0x01, b'x'], Violation::Unmasked),
            (fragment(true, 0x0, b"x"), Violation::UnexpectedContinuation),
            (
                [fragment(false, 0x2, b"x"), fragment(true, 0x2, b"x")].concat(),
                Violation::InterruptedMessage,
            ),
            (fragment(false, 0x9, b"x"), Violation::BadControlFrame),
            (fragment(true, 0x3, b"x"), Violation::UnknownOpcode),
            (fragment(true, 0x1, b"\xff"), Violation::NotUtf8),
            (fragment(true, 0x8, b"\x03"), Violation::BadClose),
            (bad_close, Violation::BadClose),
        ] {
            assert_eq!(read(&[&stream]), Err(violation));
        }
    }
}
