//! A ttyd that does as it is told: `0bulk SIZE COUNT` is answered by so many messages of that size, all other
//! input by itself. A thread a connection, so that it costs the same whoever connects.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::client::{HEADER_BYTES, frame_header, read_head, read_message};

const STACK_BYTES: usize = 128 * 1024;

/// How much a busy device hands over at once.
const CHUNK_BYTES: usize = 128 * 1024;

/// Serves until its parent ends it; says its port first.
pub(crate) fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || drop(session(stream)))
            .unwrap();
    }
}

fn session(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let head = read_head(&mut stream)?;
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut keys = lines.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let accept = derive_accept_key(keys.next().unwrap().1.as_bytes());
    stream.write_all(
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: tty\r\n\r\n"
        )
        .as_bytes(),
    )?;
    loop {
        let message = read_message(&mut stream)?;
        let Some(text) = message.strip_prefix(b"0") else {
            continue; // the first message, a resize, or a sign of life
        };
        let order = std::str::from_utf8(text).unwrap_or_default().strip_prefix("bulk ");
        if let Some((size, count)) = order.and_then(|order| order.split_once(' ')) {
            flood(&mut stream, size.parse().unwrap(), count.parse().unwrap())?;
        } else {
            let mut frame = frame_header(message.len());
            frame.extend_from_slice(&message);
            stream.write_all(&frame)?;
        }
    }
}

fn flood(stream: &mut TcpStream, size: usize, count: usize) -> std::io::Result<()> {
    let mut frame = frame_header(size);
    frame.resize(frame.len() + size, b'0');
    let in_chunk = (CHUNK_BYTES / frame.len()).max(1);
    let chunk = frame.repeat(in_chunk);
    let mut left = count;
    while left > 0 {
        let now = left.min(in_chunk);
        stream.write_all(&chunk[..now * frame.len()])?;
        left -= now;
    }
    Ok(())
}

/// The wire bytes of a flood.
pub(crate) fn flood_bytes(size: usize, count: usize) -> u64 {
    assert!(frame_header(size).len() <= HEADER_BYTES);
    (frame_header(size).len() + size) as u64 * count as u64
}

/// Reads and forgets.
pub(crate) fn drain(stream: &mut TcpStream, mut bytes: u64) {
    let mut buffer = vec![0; 256 * 1024];
    while bytes > 0 {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the connection ended {bytes} bytes too early");
        bytes = bytes.saturating_sub(read as u64);
    }
}
