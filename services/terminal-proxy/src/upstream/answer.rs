//! Checks a ttyd's answer to the WebSocket handshake (RFC 6455 §4.2.2).

use std::io;

use httparse::{Response, Status};

use crate::websocket_key::accept_value;

/// Most header lines of an answer.
const MAX_HEADERS: usize = 32;

/// How far an answer is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    NeedsMore,
    Accepted { head_bytes: usize },
}

/// How an answer differs from ttyd's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadAnswer {
    /// ttyd does this when it refuses: wrong options on the device, or too many clients.
    #[error("it closed the connection")]
    Closed,
    #[error("it said nothing in time")]
    Silence,
    #[error("it does not speak HTTP")]
    NotHttp,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("it does not know the key of this handshake")]
    WrongKey,
    #[error("it does not speak sub-protocol tty")]
    WrongProtocol,
    #[error("it wants an extension that was not offered")]
    UnexpectedExtension,
    #[error("the connection broke")]
    Broken(#[from] io::Error),
}

/// Checks what has been received so far.
pub(super) fn check(received: &[u8], key: &str) -> Result<Progress, BadAnswer> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = Response::new(&mut headers);
    let head_bytes = match response.parse(received).map_err(|_malformed| BadAnswer::NotHttp)? {
        Status::Complete(head_bytes) => head_bytes,
        Status::Partial => return Ok(Progress::NeedsMore),
    };
    match response.code {
        Some(101) => {}
        Some(code) => return Err(BadAnswer::Status(code)),
        None => return Err(BadAnswer::NotHttp),
    }
    let is = |name, expected: &str| only(&response, name).is_some_and(|value| value.eq_ignore_ascii_case(expected));
    if !is("upgrade", "websocket") || !is("connection", "upgrade") {
        return Err(BadAnswer::NotHttp);
    }
    if only(&response, "sec-websocket-accept") != Some(accept_value(key).as_str()) {
        return Err(BadAnswer::WrongKey);
    }
    if only(&response, "sec-websocket-protocol") != Some("tty") {
        return Err(BadAnswer::WrongProtocol);
    }
    if values(&response, "sec-websocket-extensions").next().is_some() {
        return Err(BadAnswer::UnexpectedExtension);
    }
    Ok(Progress::Accepted { head_bytes })
}

/// The value of a header that is there exactly once.
fn only<'answer>(response: &Response<'_, 'answer>, name: &'static str) -> Option<&'answer str> {
    let mut values = values(response, name);
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn values<'answer>(response: &Response<'_, 'answer>, name: &'static str) -> impl Iterator<Item = &'answer str> {
    let lines = response
        .headers
        .iter()
        .filter(move |line| line.name.eq_ignore_ascii_case(name));
    lines.map(|line| std::str::from_utf8(line.value).unwrap_or("\u{fffd}").trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: tty\r\n\r\n";

    #[test]
    fn ttyds_answer_is_accepted_and_what_follows_is_not_part_of_it() {
        let received = [ANSWER.as_bytes(), b"\x82\x02"].concat();

        assert_eq!(
            check(&received, KEY).unwrap(),
            Progress::Accepted {
                head_bytes: ANSWER.len()
            }
        );
        for cut in 0..ANSWER.len() {
            assert_eq!(check(&received[..cut], KEY).unwrap(), Progress::NeedsMore);
        }
    }

    #[test]
    fn every_other_answer_is_refused() {
        let refused = |from: &str, to: &str| check(ANSWER.replace(from, to).as_bytes(), KEY).unwrap_err().to_string();

        assert_eq!(
            refused("101 Switching Protocols", "302 Found"),
            "it answered with status 302"
        );
        assert_eq!(refused("HTTP/1.1", "SSH-2.0-OpenSSH"), "it does not speak HTTP");
        assert_eq!(refused("WebSocket", "h2c"), "it does not speak HTTP");
        assert_eq!(refused("s3pP", "S3pP"), "it does not know the key of this handshake");
        assert_eq!(
            refused("Protocol: tty", "Protocol: ttx"),
            "it does not speak sub-protocol tty"
        );
        assert_eq!(
            refused("Sec-WebSocket-Protocol: tty\r\n", ""),
            "it does not speak sub-protocol tty"
        );
        let extension = "tty\r\nSec-WebSocket-Extensions: permessage-deflate";
        assert_eq!(refused("tty", extension), "it wants an extension that was not offered");
    }
}
