//! How a server shows that it is a WebSocket server; we are one to the browser, and want one on the device.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a key is hashed with (RFC 6455 §1.3).
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns the answer to a `Sec-WebSocket-Key` (RFC 6455 §4.2.2). SHA-1 proves here that a WebSocket server
/// answered, and nothing more.
pub(crate) fn accept_value(key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(SUFFIX.as_bytes());
    STANDARD.encode(context.finish())
}
