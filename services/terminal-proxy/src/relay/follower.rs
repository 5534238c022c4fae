//! Follows the frame headers of a stream that is passed on as it is.

use super::frame::{Header, MessageOrder, Opcode, Violation, close_code, read_header};

/// Where a device's stream stands: in a frame's payload, or at a boundary.
#[derive(Debug)]
pub(super) struct FrameFollower {
    payload_left: u64,
    order: MessageOrder,
    max_frame_bytes: u64,
}

/// What a chunk of a device's stream contains.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Followed {
    /// How many bytes of the chunk may be passed on. Behind them stands the beginning of a header, or what
    /// `stop` says.
    pub(super) passable: usize,
    /// The last place in the passable part where a frame ends and no other has begun.
    pub(super) boundary: Option<usize>,
    /// Whether a data frame begins in the chunk.
    pub(super) data: bool,
    /// Why nothing behind the passable part may be passed on, ever.
    pub(super) stop: Option<Stop>,
}

/// What ends a device's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// It said Close; with a code when one is there and may be there.
    Close(Option<u16>),
    /// It broke the protocol.
    Violation(Violation),
}

impl FrameFollower {
    pub(super) fn new(max_frame_bytes: u64) -> Self {
        Self {
            payload_left: 0,
            order: MessageOrder::default(),
            max_frame_bytes,
        }
    }

    /// Whether everything passable so far ends with a whole frame.
    pub(super) fn at_boundary(&self) -> bool {
        self.payload_left == 0
    }

    /// Follows the headers in a chunk that continues where the passable part of the one before ended.
    pub(super) fn follow(&mut self, chunk: &[u8]) -> Followed {
        let mut followed = Followed {
            passable: 0,
            boundary: None,
            data: false,
            stop: None,
        };
        let mut rest = chunk;
        loop {
            let step = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(rest.len());
            self.payload_left -= step as u64;
            rest = rest.get(step..).unwrap_or_default();
            followed.passable = chunk.len() - rest.len();
            if self.payload_left > 0 {
                return followed;
            }
            followed.boundary = Some(followed.passable);
            match self.next_header(rest) {
                Ok(None) => return followed,
                Ok(Some((header, after))) => {
                    if header.opcode == Opcode::Close {
                        followed.stop = Some(Stop::Close(device_close_code(&header, after)));
                        return followed;
                    }
                    followed.data |= !header.opcode.is_control();
                    self.payload_left = header.payload_bytes;
                    rest = after;
                }
                Err(violation) => {
                    followed.stop = Some(Stop::Violation(violation));
                    return followed;
                }
            }
        }
    }

    fn next_header<'chunk>(&mut self, bytes: &'chunk [u8]) -> Result<Option<(Header, &'chunk [u8])>, Violation> {
        let Some((header, header_bytes)) = read_header(bytes)? else {
            return Ok(None);
        };
        if header.mask.is_some() {
            return Err(Violation::Masked);
        }
        if header.payload_bytes > self.max_frame_bytes {
            return Err(Violation::TooLarge);
        }
        self.order.accept(&header)?;
        Ok(Some((header, bytes.get(header_bytes..).unwrap_or_default())))
    }
}

/// ttyd also puts codes on the wire that may not be there (1006); they count as none.
fn device_close_code(header: &Header, after: &[u8]) -> Option<u16> {
    let payload = usize::try_from(header.payload_bytes)
        .ok()
        .and_then(|length| after.get(..length))?;
    close_code(payload).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::frame::{append_close, append_frame};

    const LIMIT: u64 = 256 * 1024;

    #[test]
    fn at_every_split_the_passable_parts_are_the_stream_and_never_end_inside_a_header() {
        let mut stream = Vec::new();
        append_frame(&mut stream, Opcode::Binary, None, &[b"0hello"]);
        append_frame(&mut stream, Opcode::Ping, None, &[]);
        append_frame(&mut stream, Opcode::Binary, None, &[&[b'x'; 300]]);
        append_frame(&mut stream, Opcode::Binary, None, &[&vec![b'y'; 70_000]]);
        for split in (0..400).chain(69_900..stream.len()) {
            let mut follower = FrameFollower::new(LIMIT);
            let first = follower.follow(&stream[..split]);
            assert_eq!(first.stop, None);
            assert!(split - first.passable < 10, "more than a header is held back");
            let second = follower.follow(&stream[first.passable..]);
            assert_eq!(first.passable + second.passable, stream.len(), "split at {split}");
            assert!(follower.at_boundary());
        }
    }

    #[test]
    fn the_last_boundary_in_a_chunk_is_known() {
        let mut stream = Vec::new();
        append_frame(&mut stream, Opcode::Binary, None, &[b"0a"]);
        append_frame(&mut stream, Opcode::Binary, None, &[b"0bcd"]);

        let followed = FrameFollower::new(LIMIT).follow(&stream[..7]);

        assert_eq!(
            (followed.passable, followed.boundary, followed.data),
            (7, Some(4), true)
        );
    }

    #[test]
    fn control_frames_may_stand_between_fragments() {
        let stream = [0x02, 0x01, b'0', 0x89, 0x00, 0x80, 0x01, b'x'];

        let followed = FrameFollower::new(LIMIT).follow(&stream);

        assert_eq!((followed.passable, followed.stop), (stream.len(), None));
    }

    #[test]
    fn nothing_of_a_hostile_frame_is_passed_on() {
        let mut too_large = vec![0x82, 127];
        too_large.extend((LIMIT + 1).to_be_bytes());
        for (hostile, violation) in [
            (vec![0x82, 0x81, 1, 2, 3, 4, b'x'], Violation::Masked),
            (vec![0xC2, 0x01, b'x'], Violation::ReservedBit),
            (vec![0x85, 0x00], Violation::UnknownOpcode),
            (vec![0x09, 0x00], Violation::BadControlFrame),
            (vec![0x80, 0x01, b'x'], Violation::UnexpectedContinuation),
            (vec![0x02, 0x00, 0x82, 0x00], Violation::InterruptedMessage),
            (too_large, Violation::TooLarge),
        ] {
            let mut stream = vec![0x82, 0x02, b'0', b'a'];
            stream.extend(&hostile);

            let followed = FrameFollower::new(LIMIT).follow(&stream);

            assert_eq!(followed.stop, Some(Stop::Violation(violation)));
            assert!(followed.passable <= 6, "{violation:?}");
        }
    }

    #[test]
    fn a_close_is_not_passed_on() {
        for (code, read) in [(1000, Some(1000)), (1008, Some(1008)), (1006, None)] {
            let mut stream = Vec::new();
            append_frame(&mut stream, Opcode::Binary, None, &[b"0bye"]);
            append_close(&mut stream, None, code, "");

            let followed = FrameFollower::new(LIMIT).follow(&stream);

            assert_eq!((followed.passable, followed.stop), (6, Some(Stop::Close(read))));
        }
    }
}
