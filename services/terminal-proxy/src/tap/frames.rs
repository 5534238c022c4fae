//! Finds the output in a device's frames, however they are cut.

use crate::relay::{Header, MAX_HEADER_BYTES, MessageOrder, Opcode, OutputEnd, Violation, close_code, read_header};

/// A part of what a device shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown<'chunk> {
    /// Terminal output.
    Output(&'chunk [u8]),
    /// A title, whole or a part of it.
    Title(&'chunk [u8]),
}

/// What the message is that is being read (ttyd 1.7.7: the first byte is the command).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// Its first byte has not come yet.
    Unknown,
    Output,
    Title,
    Other,
}

/// Where a device's stream stands.
#[derive(Debug)]
pub(super) struct OutputFrames {
    head: [u8; MAX_HEADER_BYTES],
    head_bytes: usize,
    payload_left: u64,
    is_control: bool,
    message: Message,
    order: MessageOrder,
    max_frame_bytes: u64,
    signs_of_life: bool,
    has_ended: bool,
}

impl OutputFrames {
    pub(super) fn new(max_frame_bytes: u64) -> Self {
        Self {
            head: [0; MAX_HEADER_BYTES],
            head_bytes: 0,
            payload_left: 0,
            is_control: false,
            message: Message::Unknown,
            order: MessageOrder::default(),
            max_frame_bytes,
            signs_of_life: false,
            has_ended: false,
        }
    }

    /// Whether the stream may end here.
    pub(super) fn at_boundary(&self) -> bool {
        self.payload_left == 0 && self.head_bytes == 0
    }

    /// Whether a control frame came since this was asked.
    pub(super) fn take_signs_of_life(&mut self) -> bool {
        std::mem::take(&mut self.signs_of_life)
    }

    /// Follows a chunk to its end, or to where the device said Close or broke the protocol.
    pub(super) fn follow<'chunk>(
        &mut self,
        mut chunk: &'chunk [u8],
        mut show: impl FnMut(Shown<'chunk>),
    ) -> Option<OutputEnd> {
        while !self.has_ended && !chunk.is_empty() {
            if self.payload_left == 0 {
                let outcome = self.next_header(&mut chunk);
                let end = match outcome {
                    Ok(None) => continue,
                    Ok(Some(header)) => self.begin(&header, chunk),
                    Err(violation) => Some(OutputEnd::DeviceBroke(violation)),
                };
                if end.is_some() {
                    self.has_ended = true;
                    return end;
                }
            }
            let step = usize::try_from(self.payload_left)
                .unwrap_or(usize::MAX)
                .min(chunk.len());
            let (payload, rest) = chunk.split_at(step);
            chunk = rest;
            self.payload_left -= step as u64;
            if !self.is_control {
                self.show(payload, &mut show);
            }
        }
        None
    }

    fn show<'chunk>(&mut self, payload: &'chunk [u8], show: &mut impl FnMut(Shown<'chunk>)) {
        let payload = match (self.message, payload) {
            (Message::Unknown, [command, rest @ ..]) => {
                self.message = match command {
                    b'0' => Message::Output,
                    b'1' => Message::Title,
                    _ => Message::Other,
                };
                rest
            }
            (_, payload) => payload,
        };
        match self.message {
            Message::Output if !payload.is_empty() => show(Shown::Output(payload)),
            Message::Title if !payload.is_empty() => show(Shown::Title(payload)),
            Message::Output | Message::Title | Message::Other | Message::Unknown => {}
        }
    }

    fn begin(&mut self, header: &Header, after: &[u8]) -> Option<OutputEnd> {
        self.payload_left = header.payload_bytes;
        self.is_control = header.opcode.is_control();
        match header.opcode {
            Opcode::Close => {
                let payload = usize::try_from(header.payload_bytes)
                    .ok()
                    .and_then(|it| after.get(..it));
                let code = payload.and_then(|payload| close_code(payload).ok().flatten());
                return Some(OutputEnd::DeviceClosed(code));
            }
            Opcode::Ping | Opcode::Pong => self.signs_of_life = true,
            Opcode::Text | Opcode::Binary => self.message = Message::Unknown,
            Opcode::Continuation => {}
        }
        None
    }

    /// Takes a header from the front of the chunk; none when it is not complete yet.
    fn next_header(&mut self, chunk: &mut &[u8]) -> Result<Option<Header>, Violation> {
        let found = if self.head_bytes == 0 {
            read_header(chunk)?
        } else {
            None
        };
        let header = match found {
            Some((header, header_bytes)) => {
                *chunk = chunk.get(header_bytes..).unwrap_or_default();
                header
            }
            None => match self.collect(chunk)? {
                Some(header) => header,
                None => return Ok(None),
            },
        };
        if header.mask.is_some() {
            return Err(Violation::Masked);
        }
        if header.payload_bytes > self.max_frame_bytes {
            return Err(Violation::TooLarge);
        }
        self.order.accept(&header)?;
        Ok(Some(header))
    }

    /// Collects a header that is cut, byte by byte.
    fn collect(&mut self, chunk: &mut &[u8]) -> Result<Option<Header>, Violation> {
        while let Some((byte, rest)) = chunk.split_first()
            && let Some(place) = self.head.get_mut(self.head_bytes)
        {
            *place = *byte;
            *chunk = rest;
            self.head_bytes += 1;
            if let Some((header, _)) = read_header(self.head.get(..self.head_bytes).unwrap_or_default())? {
                self.head_bytes = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::{append_close, append_frame};

    fn stream() -> Vec<u8> {
        let mut stream = Vec::new();
        append_frame(&mut stream, Opcode::Binary, None, &[b"1sh (pump-1)"]);
        append_frame(&mut stream, Opcode::Binary, None, &[b"2{ }"]);
        append_frame(&mut stream, Opcode::Binary, None, &[b"0hello "]);
        append_frame(&mut stream, Opcode::Ping, None, &[b"0ping"]);
        stream.extend([0x02, 0x02, b'0', b'w', 0x89, 0x00, 0x80, 0x02, b'o', b'r']); // a fragmented message
        append_frame(&mut stream, Opcode::Binary, None, &[]);
        append_frame(&mut stream, Opcode::Text, None, &[b"0ld", &[b'!'; 300]]);
        stream
    }

    #[test]
    fn at_every_split_the_output_is_the_same() {
        let stream = stream();
        for split in 0..stream.len() {
            let mut frames = OutputFrames::new(1024);
            let (mut output, mut title) = (Vec::new(), Vec::new());
            for chunk in [&stream[..split], &stream[split..]] {
                let end = frames.follow(chunk, |shown| match shown {
                    Shown::Output(bytes) => output.extend_from_slice(bytes),
                    Shown::Title(bytes) => title.extend_from_slice(bytes),
                });
                assert_eq!(end, None);
            }
            assert_eq!(output, [b"hello world", &[b'!'; 300][..]].concat(), "split at {split}");
            assert_eq!(title, b"sh (pump-1)");
            assert!(frames.at_boundary() && frames.take_signs_of_life());
        }
    }

    #[test]
    fn nothing_behind_a_close_or_a_hostile_frame_is_output() {
        let mut close = Vec::new();
        append_close(&mut close, None, 1008, "no");
        for (hostile, expected) in [
            (close, OutputEnd::DeviceClosed(Some(1008))),
            (
                vec![0x82, 0x81, 1, 2, 3, 4, b'x'],
                OutputEnd::DeviceBroke(Violation::Masked),
            ),
            (vec![0xC2, 0x01, b'x'], OutputEnd::DeviceBroke(Violation::ReservedBit)),
            (
                vec![0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0],
                OutputEnd::DeviceBroke(Violation::TooLarge),
            ),
        ] {
            let mut stream = b"\x82\x02".to_vec();
            stream.extend(b"0a");
            stream.extend(&hostile);
            stream.extend(b"\x82\x020b");
            let mut output = Vec::new();
            let mut frames = OutputFrames::new(1024);

            let end = frames.follow(&stream, |shown| {
                if let Shown::Output(bytes) = shown {
                    output.extend_from_slice(bytes);
                }
            });

            assert_eq!((end, output.as_slice()), (Some(expected), &b"a"[..]));
            assert_eq!(frames.follow(b"\x82\x020c", |_| panic!("it goes on")), None);
        }
    }
}
