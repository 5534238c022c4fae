//! What the proxy makes of the bytes of strangers, without a connection: for those who try what can be done to it.

use crate::relay::{MessageLimits, MessageReader, OutputEnd, Received};
use crate::tap::output_of;
use crate::upstream::check_answer;

/// Longest message of a browser that is read here.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

const LIMITS: MessageLimits = MessageLimits {
    max_message_bytes: MAX_MESSAGE_BYTES,
    max_fragments: 64,
};

/// Longest frame of a device that is followed here.
const MAX_DEVICE_FRAME_BYTES: u64 = 256 * 1024;

/// Reads a browser's bytes, in the pieces that they come in; returns its messages, and the close code that the proxy
/// ends with if it does.
pub fn browser_messages(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<u16>) {
    let mut reader = MessageReader::new(LIMITS);
    let mut messages = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            match reader.next(&mut rest) {
                Ok(None) => break,
                Ok(Some(Received::Message(message))) => messages.push(message.to_vec()),
                Ok(Some(Received::Ping(_) | Received::Pong)) => {}
                Ok(Some(Received::Close(code))) => return (messages, Some(code.unwrap_or(1000))),
                Err(violation) => return (messages, Some(violation.close_code())),
            }
        }
    }
    (messages, None)
}

/// Reads a device's bytes; returns its terminal output, and whether it ended or broke the protocol.
pub fn device_output(pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let (output, end) = output_of(pieces, MAX_DEVICE_FRAME_BYTES);
    let has_ended = end.is_some_and(|end| matches!(end, OutputEnd::DeviceClosed(_) | OutputEnd::DeviceBroke(_)));
    (output, has_ended)
}

/// Reads a device's answer to a handshake with the key of RFC 6455 §1.3; returns whether it is a willing ttyd's.
pub fn handshake_answer(bytes: &[u8]) -> bool {
    check_answer(bytes, "dGhlIHNhbXBsZSBub25jZQ==")
}
