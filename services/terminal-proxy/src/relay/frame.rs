//! Frame headers (RFC 6455 §5.2): read them, check them, write them.

/// The longest frame header: 2 bytes, 8 of length, 4 of mask.
pub(crate) const MAX_HEADER_BYTES: usize = 14;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub(crate) const MAX_CONTROL_BYTES: usize = 125;

/// Says that the length follows in 2 bytes.
const LENGTH_IN_2_BYTES: u8 = 0x7E;

/// Says that the length follows in 8 bytes.
const LENGTH_IN_8_BYTES: u8 = 0x7F;

/// What a frame is (RFC 6455 §11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn parse(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    pub(crate) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) fin: bool,
    pub(crate) opcode: Opcode,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) payload_bytes: u64,
}

/// How the other side broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("a reserved bit is set")]
    ReservedBit,
    #[error("an unknown opcode")]
    UnknownOpcode,
    #[error("a control frame that is fragmented or longer than 125 bytes")]
    BadControlFrame,
    #[error("a continuation without a beginning")]
    UnexpectedContinuation,
    #[error("a new message inside a fragmented one")]
    InterruptedMessage,
    #[error("a client's frame without a mask")]
    Unmasked,
    #[error("a server's frame with a mask")]
    Masked,
    #[error("a close frame whose code or reason may not be on the wire")]
    BadClose,
    #[error("a text message that is not UTF-8")]
    NotUtf8,
    #[error("a frame or message over the limit")]
    TooLarge,
    #[error("too many fragments, or too many frames for too long")]
    TooMany,
}

impl Violation {
    /// The close code that says so (RFC 6455 §7.4.1).
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::ReservedBit
            | Self::UnknownOpcode
            | Self::BadControlFrame
            | Self::UnexpectedContinuation
            | Self::InterruptedMessage
            | Self::Unmasked
            | Self::Masked
            | Self::BadClose => 1002,
            Self::NotUtf8 => 1007,
            Self::TooMany => 1008,
            Self::TooLarge => 1009,
        }
    }
}

/// Reads the header at the front of `bytes` and tells how long it is; none when it is not complete yet.
pub(crate) fn read_header(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBit);
    }
    let opcode = Opcode::parse(first & 0x0F).ok_or(Violation::UnknownOpcode)?;
    let fin = first & 0x80 != 0;
    let short_length = second & 0x7F;
    if opcode.is_control() && (!fin || usize::from(short_length) > MAX_CONTROL_BYTES) {
        return Err(Violation::BadControlFrame);
    }
    let Some((payload_bytes, rest)) = read_length(short_length, rest) else {
        return Ok(None);
    };
    let (mask, rest) = if second & 0x80 == 0 {
        (None, rest)
    } else if let Some((mask, rest)) = rest.split_first_chunk::<4>() {
        (Some(*mask), rest)
    } else {
        return Ok(None);
    };
    Ok(Some((
        Header {
            fin,
            opcode,
            mask,
            payload_bytes,
        },
        bytes.len() - rest.len(),
    )))
}

fn read_length(short: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    match short {
        LENGTH_IN_2_BYTES => rest
            .split_first_chunk::<2>()
            .map(|(bytes, rest)| (u64::from(u16::from_be_bytes(*bytes)), rest)),
        LENGTH_IN_8_BYTES => rest
            .split_first_chunk::<8>()
            .map(|(bytes, rest)| (u64::from_be_bytes(*bytes), rest)),
        length => Some((u64::from(length), rest)),
    }
}

/// How long the header is that begins with these two bytes.
pub(crate) fn header_bytes(second: u8) -> usize {
    let length = match second & 0x7F {
        LENGTH_IN_2_BYTES => 2,
        LENGTH_IN_8_BYTES => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

/// The order of frames in a message (RFC 6455 §5.4): fragments belong together, control frames may stand
/// between them.
#[derive(Debug, Default)]
pub(crate) struct MessageOrder {
    inside: bool,
}

impl MessageOrder {
    pub(crate) fn accept(&mut self, header: &Header) -> Result<(), Violation> {
        match (header.opcode, self.inside) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => return Ok(()),
            (Opcode::Continuation, false) => return Err(Violation::UnexpectedContinuation),
            (Opcode::Text | Opcode::Binary, true) => return Err(Violation::InterruptedMessage),
            (Opcode::Continuation, true) | (Opcode::Text | Opcode::Binary, false) => {}
        }
        self.inside = !header.fin;
        Ok(())
    }
}

/// Appends a frame of one piece. Every frame of a client has a mask of its own, no frame of a server has one.
pub(crate) fn append_frame(to: &mut Vec<u8>, opcode: Opcode, mask: Option<[u8; 4]>, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    to.push(0x80 | opcode.bits());
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => to.push(mask_bit | short),
        (_, Ok(medium)) => {
            to.push(mask_bit | LENGTH_IN_2_BYTES);
            to.extend_from_slice(&medium.to_be_bytes());
        }
        (_, Err(_)) => {
            to.push(mask_bit | LENGTH_IN_8_BYTES);
            to.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    to.extend(mask.iter().flatten());
    let payload_at = to.len();
    for part in parts {
        to.extend_from_slice(part);
    }
    if let Some(mask) = mask {
        apply_mask(to.get_mut(payload_at..).unwrap_or_default(), mask, 0);
    }
}

/// Appends a Close with a code and a reason of at most 123 bytes.
pub(crate) fn append_close(to: &mut Vec<u8>, mask: Option<[u8; 4]>, code: u16, reason: &str) {
    debug_assert!(
        reason.len() + 2 <= MAX_CONTROL_BYTES,
        "close reasons are short words of ours"
    );
    append_frame(to, Opcode::Close, mask, &[&code.to_be_bytes(), reason.as_bytes()]);
}

/// Masks or unmasks (the same) payload bytes that begin `offset` bytes into their frame.
pub(crate) fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut mask = mask;
    mask.rotate_left(offset % 4);
    let key = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Reads the code of a Close payload; none when it is empty. Codes that may not be on the wire, one lone
/// byte, and a reason that is not UTF-8 are violations (RFC 6455 §5.5.1, §7.4).
pub(crate) fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Violation::BadClose)
        };
    };
    let code = u16::from_be_bytes(*code);
    let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if may_be_sent && std::str::from_utf8(reason).is_ok() {
        Ok(Some(code))
    } else {
        Err(Violation::BadClose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_writing_and_reading_at_every_length_form() {
        for length in [0_usize, 1, 125, 126, 127, 65_535, 65_536] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let payload: Vec<u8> = (0..length).map(|index| u8::try_from(index % 251).unwrap()).collect();
                let mut frame = Vec::new();
                append_frame(&mut frame, Opcode::Binary, mask, &[&payload]);

                let (header, header_length) = read_header(&frame).unwrap().unwrap();

                assert_eq!(
                    header,
                    Header {
                        fin: true,
                        opcode: Opcode::Binary,
                        mask,
                        payload_bytes: length as u64
                    }
                );
                assert_eq!(header_bytes(frame[1]), header_length);
                let mut read = frame[header_length..].to_vec();
                apply_mask(&mut read, mask.unwrap_or_default(), 0);
                assert_eq!(read, payload);
                assert!((0..header_length).all(|cut| read_header(&frame[..cut]) == Ok(None)));
            }
        }
    }

    #[test]
    fn masking_in_pieces_is_masking_at_once() {
        let mut whole: Vec<u8> = (0..40).collect();
        let mut pieces = whole.clone();
        apply_mask(&mut whole, [9, 8, 7, 6], 0);
        for split in 0..=pieces.len() {
            let (front, back) = pieces.split_at_mut(split);
            apply_mask(front, [9, 8, 7, 6], 0);
            apply_mask(back, [9, 8, 7, 6], split);
            assert_eq!(pieces, whole, "split at {split}");
            apply_mask(&mut pieces, [9, 8, 7, 6], 0);
        }
    }

    #[test]
    fn headers_that_rfc_6455_forbids_are_violations() {
        for (bytes, violation) in [
            ([0xC2, 0x00], Violation::ReservedBit),
            ([0x83, 0x00], Violation::UnknownOpcode),
            ([0x8B, 0x00], Violation::UnknownOpcode),
            ([0x09, 0x00], Violation::BadControlFrame),
            ([0x89, 0x7E], Violation::BadControlFrame),
        ] {
            assert_eq!(read_header(&bytes), Err(violation), "{bytes:02x?}");
        }
    }

    #[test]
    fn close_codes_that_may_not_be_on_the_wire_are_violations() {
        for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert_eq!(close_code(&code.to_be_bytes()), Err(Violation::BadClose), "{code}");
        }
        assert_eq!(close_code(&[3]), Err(Violation::BadClose));
        assert_eq!(close_code(&[0x03, 0xE8, 0xFF]), Err(Violation::BadClose));
        assert_eq!(close_code(&[]), Ok(None));
        assert_eq!(close_code(&4000_u16.to_be_bytes()), Ok(Some(4000)));
    }
}
