//! WebSocket frames of a browser and of a device.

use std::time::Duration;

use terminal_proxy::wire;

/// What following 16 KiB may take.
const LIMIT: Duration = Duration::from_millis(50);

/// However the bytes are cut, they mean the same; and no message is longer than its limit.
pub fn check(bytes: &[u8]) {
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let whole = crate::within(LIMIT, || wire::browser_messages(&[bytes]));
    assert_eq!(
        whole,
        wire::browser_messages(&[first, second]),
        "the cut decides what a browser says"
    );
    let longest = whole.0.iter().map(Vec::len).max().unwrap_or_default();
    assert!(longest <= wire::MAX_MESSAGE_BYTES, "a message over the limit");

    let whole = crate::within(LIMIT, || wire::device_output(&[bytes]));
    let cut = wire::device_output(&[first, second]);
    assert_eq!(whole.0, cut.0, "the cut decides what a device shows");
}
