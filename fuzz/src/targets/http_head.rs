//! Request heads on their way to the HTTP parser, and a device's answer to the terminal's handshake.

use std::time::Duration;

use common::chassis::server::guard_heads;
use terminal_proxy::wire;

/// What following 16 KiB may take.
const LIMIT: Duration = Duration::from_millis(50);

/// However the bytes are cut, the guard lets the same through; and of what it lets through, nobody reads two lengths.
pub fn check(bytes: &[u8]) {
    let whole = crate::within(LIMIT, || {
        let mut whole = bytes.to_vec();
        guard_heads(&mut [&mut whole]);
        whole
    });
    let mut cut = bytes.to_vec();
    let (first, second) = cut.split_at_mut(bytes.len() / 2);
    guard_heads(&mut [first, second]);
    // What goes on before the ambiguous byte may differ by nothing but where it was noticed.
    assert_eq!(is_spoiled(bytes, &whole), is_spoiled(bytes, &cut), "the cut decides");
    if !is_spoiled(bytes, &whole) {
        one_length(bytes);
    }
    crate::within(LIMIT, || wire::handshake_answer(bytes));
}

fn is_spoiled(before: &[u8], after: &[u8]) -> bool {
    before != after
}

fn one_length(bytes: &[u8]) {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(httparse::Status::Complete(_)) = request.parse(bytes) else {
        return;
    };
    let lengths = request.headers.iter().filter(|line| {
        let name = line.name.to_ascii_lowercase();
        name == "content-length" || name == "transfer-encoding"
    });
    assert!(lengths.count() <= 1, "two lengths of one body");
}
