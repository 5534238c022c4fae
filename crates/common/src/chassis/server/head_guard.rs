//! Refuses request heads that two HTTP parsers could read differently (request smuggling).
//!
//! hyper accepts a bare LF, drops a second equal `Content-Length`, and prefers `Transfer-Encoding` to
//! `Content-Length`. RFC 9112 §2.2 and §6.3 allow it; a proxy in front may decide otherwise. The guard
//! follows the bytes of a connection, and where a head is ambiguous it replaces the rest by NUL bytes,
//! which no parser accepts: hyper itself answers 400 and closes.

/// Longest header line that is looked at; the three that matter are shorter.
const MAX_LINE: usize = 128;

/// Follows the requests of one connection.
#[derive(Debug, Default)]
pub(super) struct HeadGuard {
    state: State,
    /// The start of the current line of a head, without its end.
    line: Vec<u8>,
    line_bytes: u64,
    after_cr: bool,
    framing: Framing,
}

/// What the current head has said about the length of its body.
#[derive(Debug, Default)]
struct Framing {
    request_line: bool,
    upgrade: bool,
    body: Option<Body>,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Length(u64),
    Chunked,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    /// Within a head, or before one.
    #[default]
    Head,
    /// A body with this many bytes to come.
    Body(u64),
    /// The line before a chunk, with the size so far.
    ChunkSize(u64),
    /// The rest of that line.
    ChunkExtension(u64),
    /// The lines after the last chunk.
    Trailer,
    /// No HTTP any more, or an upgrade that the server answers and, if it refuses, closes.
    Tunnel,
    /// An ambiguous head was seen.
    Refused,
}

/// The head is ambiguous.
#[derive(Debug, PartialEq, Eq)]
struct Ambiguous;

impl HeadGuard {
    /// Looks at bytes on their way to the HTTP parser, and spoils them from the first ambiguous one on.
    pub(super) fn inspect(&mut self, bytes: &mut [u8]) {
        let mut next = 0;
        while next < bytes.len() {
            if matches!(self.state, State::Tunnel) {
                return;
            }
            if let State::Body(left) = self.state {
                next += self.skip_body(left, bytes.len() - next);
                continue;
            }
            let plain = self.take_plain(&bytes[next..]);
            if plain > 0 {
                next += plain;
                continue;
            }
            if self.step(bytes[next]).is_err() {
                self.state = State::Refused;
                bytes[next..].fill(0);
                return;
            }
            next += 1;
        }
    }

    /// Whether a head has begun and not ended.
    pub(super) fn is_within_head(&self) -> bool {
        matches!(self.state, State::Head) && (self.line_bytes > 0 || self.framing.request_line)
    }

    /// Takes the bytes of a head line up to one that may end it or make it ambiguous; returns how many.
    fn take_plain(&mut self, bytes: &[u8]) -> usize {
        if !matches!(self.state, State::Head) || self.after_cr {
            return 0;
        }
        let special = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0));
        let plain = &bytes[..special.unwrap_or(bytes.len())];
        self.line_bytes += plain.len() as u64;
        let room = MAX_LINE - self.line.len();
        self.line.extend_from_slice(&plain[..plain.len().min(room)]);
        plain.len()
    }

    fn skip_body(&mut self, left: u64, available: usize) -> usize {
        let skipped = usize::try_from(left).map_or(available, |left| left.min(available));
        let left = left - skipped as u64;
        self.state = match (left, self.framing.body) {
            (0, Some(Body::Chunked)) => State::ChunkSize(0),
            (0, _) => self.next_head(),
            _ => State::Body(left),
        };
        skipped
    }

    fn next_head(&mut self) -> State {
        self.framing = Framing::default();
        State::Head
    }

    fn step(&mut self, byte: u8) -> Result<(), Ambiguous> {
        let ends_line = self.follow_line(byte)?;
        self.state = match self.state {
            State::Head if ends_line => self.end_head_line()?,
            State::ChunkSize(size) | State::ChunkExtension(size) if ends_line => self.end_chunk_line(size)?,
            State::Trailer if ends_line && self.line_bytes == 0 => self.next_head(),
            State::ChunkSize(size) if byte != b'\r' => chunk_digit(size, byte)?,
            State::Refused => return Err(Ambiguous),
            State::Head
            | State::ChunkSize(_)
            | State::ChunkExtension(_)
            | State::Trailer
            | State::Body(_)
            | State::Tunnel => self.state,
        };
        if ends_line {
            self.line.clear();
            self.line_bytes = 0;
        }
        Ok(())
    }

    /// Collects the line and says whether this byte ends it; a line ends with CR LF and nothing else.
    fn follow_line(&mut self, byte: u8) -> Result<bool, Ambiguous> {
        let ends = byte == b'\n';
        if ends != self.after_cr || byte == 0 {
            return Err(Ambiguous);
        }
        self.after_cr = byte == b'\r';
        if !ends && !self.after_cr {
            self.line_bytes += 1;
            if self.line.len() < MAX_LINE {
                self.line.push(byte);
            }
        }
        Ok(ends)
    }

    fn end_head_line(&mut self) -> Result<State, Ambiguous> {
        if !self.framing.request_line {
            // An empty line before a request is ignored (RFC 9112 §2.2).
            self.framing.request_line = self.line_bytes > 0;
        } else if self.line_bytes > 0 {
            self.read_header()?;
        } else {
            return Ok(self.end_head());
        }
        Ok(State::Head)
    }

    fn end_head(&mut self) -> State {
        match self.framing.body {
            _ if self.framing.upgrade => State::Tunnel,
            Some(Body::Chunked) => State::ChunkSize(0),
            Some(Body::Length(length @ 1..)) => State::Body(length),
            Some(Body::Length(0)) | None => self.next_head(),
        }
    }

    fn read_header(&mut self) -> Result<(), Ambiguous> {
        if self.line.first().is_some_and(u8::is_ascii_whitespace) {
            return Err(Ambiguous); // obs-fold, RFC 9112 §5.2
        }
        let colon = self
            .line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(self.line.len());
        let (name, value) = self.line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let body = if name.eq_ignore_ascii_case(b"content-length") {
            Body::Length(decimal(value)?)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Ambiguous);
            }
            Body::Chunked
        } else {
            self.framing.upgrade |= name.eq_ignore_ascii_case(b"upgrade");
            return Ok(());
        };
        let is_second = self.framing.body.replace(body).is_some();
        let is_cut = self.line_bytes > MAX_LINE as u64;
        if is_second || is_cut { Err(Ambiguous) } else { Ok(()) }
    }

    fn end_chunk_line(&self, size: u64) -> Result<State, Ambiguous> {
        match size {
            _ if self.line_bytes == 0 => Err(Ambiguous),
            0 => Ok(State::Trailer),
            // The CR LF after the data is skipped with it; the parser checks it.
            _ => Ok(State::Body(size.checked_add(2).ok_or(Ambiguous)?)),
        }
    }
}

fn chunk_digit(size: u64, byte: u8) -> Result<State, Ambiguous> {
    let Some(digit) = char::from(byte).to_digit(16) else {
        return Ok(State::ChunkExtension(size));
    };
    let size = size.checked_mul(16).and_then(|size| size.checked_add(u64::from(digit)));
    size.map(State::ChunkSize).ok_or(Ambiguous)
}

fn decimal(text: &[u8]) -> Result<u64, Ambiguous> {
    let digits = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(Ambiguous)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_requests_pass_unchanged_one_after_the_other_and_byte_by_byte() {
        let stream = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\
            POST /a HTTP/1.1\r\ncontent-length: 4\r\n\r\n\n\n\0\n\
            \r\nPOST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n\n\0\n\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n\
            POST /c HTTP/1.1\r\nContent-Length: 0\r\n\r\n\
            GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\nany\nthing\0";

        assert_eq!(inspect_whole(stream), stream);
        assert_eq!(inspect_bytewise(stream), stream);
    }

    #[test]
    fn an_ambiguous_head_is_spoilt_before_it_ends() {
        let ambiguous: [&[u8]; 11] = [
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
            b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 4, 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ];
        for stream in ambiguous {
            let text = String::from_utf8_lossy(stream);
            assert_eq!(inspect_whole(stream).last(), Some(&0), "{text:?}");
            assert_eq!(inspect_bytewise(stream).last(), Some(&0), "{text:?}");
        }
    }

    #[test]
    fn a_request_behind_a_body_is_inspected_too() {
        let stream = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nxxGET / HTTP/1.1\nHost: a\r\n\r\n";

        let seen = inspect_whole(stream);

        let end = seen.iter().position(|byte| *byte == 0).unwrap();
        assert!(seen[..end].ends_with(b"GET / HTTP/1.1"));
    }

    #[test]
    fn it_knows_when_a_head_has_begun_and_not_ended() {
        let mut guard = HeadGuard::default();
        let mut seen = Vec::new();
        for part in ["", "G", "ET / HTTP/1.1\r\n", "Host: a\r\n\r\n"] {
            guard.inspect(&mut part.as_bytes().to_vec());
            seen.push(guard.is_within_head());
        }

        assert_eq!(seen, [false, true, true, false]);
    }

    fn inspect_whole(stream: &[u8]) -> Vec<u8> {
        let mut bytes = stream.to_vec();
        HeadGuard::default().inspect(&mut bytes);
        bytes
    }

    fn inspect_bytewise(stream: &[u8]) -> Vec<u8> {
        let mut bytes = stream.to_vec();
        let mut guard = HeadGuard::default();
        for byte in &mut bytes {
            guard.inspect(std::slice::from_mut(byte));
        }
        bytes
    }
}
