//! A client that costs next to nothing: one blocking socket, frames by hand.

use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::peers::Door;

/// The longest header of an unmasked frame.
pub(crate) const HEADER_BYTES: usize = 10;

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// An open terminal.
pub(crate) struct Terminal {
    pub(crate) stream: TcpStream,
}

impl Terminal {
    pub(crate) fn open(door: &Door) -> Self {
        Self::open_on(door, 0)
    }

    /// Opens a terminal of one of the devices.
    pub(crate) fn open_on(door: &Door, device: usize) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", door.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let authorization = door
            .token
            .as_deref()
            .map(|token| format!("Authorization: Bearer {token}\r\n"));
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: tty\r\n{}\r\n",
            door.paths[device % door.paths.len()],
            door.port,
            authorization.unwrap_or_default()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut stream).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let mut terminal = Self { stream };
        terminal.say(br#"{"AuthToken":"","columns":80,"rows":24}"#);
        terminal
    }

    /// Orders a flood of output.
    pub(crate) fn order(&mut self, size: usize, count: usize) {
        self.say(format!("0bulk {size} {count}").as_bytes());
    }

    pub(crate) fn say(&mut self, message: &[u8]) {
        let mut frame = frame_header(message.len());
        frame[1] |= 0x80;
        frame.extend_from_slice(&[0; 4]); // a mask that changes nothing
        frame.extend_from_slice(message);
        self.stream.write_all(&frame).unwrap();
    }

    /// Types a key and waits for its echo.
    pub(crate) fn echo(&mut self) {
        self.say(b"0x");
        while read_message(&mut self.stream).unwrap() != b"0x" {}
    }
}

/// The header of a server's binary frame.
pub(crate) fn frame_header(payload_bytes: usize) -> Vec<u8> {
    match payload_bytes {
        0..=125 => vec![0x82, u8::try_from(payload_bytes).unwrap()],
        126..=0xFFFF => {
            let length = u16::try_from(payload_bytes).unwrap().to_be_bytes();
            [&[0x82, 126][..], &length].concat()
        }
        _ => [&[0x82, 127][..], &(payload_bytes as u64).to_be_bytes()].concat(),
    }
}

pub(crate) fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

/// Reads one message of at most 125 bytes, with or without a mask.
pub(crate) fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = [0; 131];
    stream.read_exact(&mut frame[..2])?;
    let masked = frame[1] & 0x80 != 0;
    let length = usize::from(frame[1] & 0x7F);
    assert!(length <= 125, "a long message from a person");
    let mask_bytes = if masked { 4 } else { 0 };
    stream.read_exact(&mut frame[2..2 + mask_bytes + length])?;
    let (mask, payload) = frame[2..2 + mask_bytes + length].split_at(mask_bytes);
    let unmasked = payload.iter().enumerate();
    Ok(unmasked
        .map(|(index, byte)| byte ^ if masked { mask[index % 4] } else { 0 })
        .collect())
}
