//! Requests and frames byte by byte: no browser would send most of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// For the slowest answer there is: a flood that is throttled first.
const PATIENCE: Duration = Duration::from_mins(1);

/// Most bytes of frames in one write.
const WRITE_BYTES: usize = 64 * 1024;

/// What came back.
#[derive(Debug, Default, Clone)]
pub(super) struct Reply {
    /// 0: nothing.
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(super) fn slug(&self) -> String {
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.strip_prefix("urn:iot-bridge:problem:")
            .unwrap_or_default()
            .to_owned()
    }

    /// Everything that two refusals may be told apart by, but for the name of the request.
    pub(super) fn without_instance(&self) -> (u16, Value, Vec<String>) {
        let mut body = self.json();
        if let Some(members) = body.as_object_mut() {
            members.remove("instance");
        }
        let names = self.headers.iter().map(|(name, _)| name.clone()).collect();
        (self.status, body, names)
    }

    /// What every refusal has, whatever it is about.
    pub(super) fn is_careful(&self) -> Result<(), String> {
        let required = match self.status {
            401 => Some("www-authenticate"),
            405 => Some("allow"),
            426 => Some("sec-websocket-version"),
            429 | 503 => Some("retry-after"),
            _ => None,
        };
        let has = |name: &str| self.headers.iter().any(|(known, _)| known == name);
        match required {
            Some(name) if !has(name) => Err(format!("{} without {name}", self.status)),
            _ if self.status == 500 => Err(format!("{self:?}")),
            _ => Ok(()),
        }
    }
}

/// One connection, from an address of the caller's choice.
pub(super) struct Connection {
    stream: TcpStream,
    /// What was read and not looked at.
    unread: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(server: SocketAddr, from: Ipv4Addr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self {
            stream: socket.connect(server).await.unwrap(),
            unread: Vec::new(),
        }
    }

    /// Sends a request and reads its answer: all of it, or the head of one that begins a session.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Reply {
        if self.stream.write_all(request).await.is_err() {
            return Reply::default();
        }
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if !self.read().await {
                return Reply::default();
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let mut reply = Reply {
            status,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: Vec::new(),
        };
        if status != 101 {
            let length = reply.headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
            while self.unread.len() < length && self.read().await {}
            reply.body = self.unread.drain(..length.min(self.unread.len())).collect();
        }
        reply
    }

    /// Sends a message as a browser would.
    pub(super) async fn say(&mut self, message: &[u8]) {
        self.send(&browser_frame(message), 1).await;
    }

    /// Sends bytes again and again; who has seen enough may close before the end.
    pub(super) async fn send(&mut self, bytes: &[u8], times: usize) {
        let at_once = (WRITE_BYTES / bytes.len().max(1)).clamp(1, times.max(1));
        let many = bytes.repeat(at_once);
        let mut left = times;
        while left > 0 {
            let now = left.min(at_once);
            left -= now;
            let piece = &many[..now * bytes.len()];
            let Self { stream, unread } = self;
            let (mut reader, mut writer) = stream.split();
            let mut buffer = [0; 4096];
            let mut write = std::pin::pin!(writer.write_all(piece));
            // Answers are read meanwhile, or both sides would wait for each other.
            let written = loop {
                tokio::select! {
                    written = &mut write => break written,
                    read = reader.read(&mut buffer) => match read {
                        Ok(length @ 1..) => unread.extend_from_slice(&buffer[..length]),
                        Ok(0) | Err(_) => return,
                    },
                }
            };
            if written.is_err() {
                return;
            }
        }
    }

    /// Reads to the Close.
    pub(super) async fn closed(&mut self) -> (u16, String) {
        loop {
            let (opcode, payload) = self.frame().await;
            if opcode == 8 {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
            }
        }
    }

    /// Reads to this message.
    pub(super) async fn hear(&mut self, expected: &str) {
        loop {
            let (opcode, payload) = self.frame().await;
            assert_ne!(opcode, 8, "closed: {}", String::from_utf8_lossy(&payload));
            if payload == expected.as_bytes() {
                return;
            }
        }
    }

    /// Reads one frame of the server: no mask, no fragments.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        self.fill(2).await;
        let length = match self.unread[1] {
            126 => {
                self.fill(4).await;
                let length = u16::from_be_bytes([self.unread[2], self.unread[3]]);
                self.unread.drain(..2);
                usize::from(length)
            }
            short => usize::from(short),
        };
        self.fill(2 + length).await;
        let opcode = self.unread[0] & 0x0f;
        let frame: Vec<u8> = self.unread.drain(..2 + length).collect();
        (opcode, frame[2..].to_vec())
    }

    async fn fill(&mut self, bytes: usize) {
        while self.unread.len() < bytes {
            assert!(self.read().await, "the connection ended inside of a frame");
        }
    }

    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await;
        match read.expect("no answer and no end") {
            Ok(length @ 1..) => {
                self.unread.extend_from_slice(&buffer[..length]);
                true
            }
            Ok(0) | Err(_) => false,
        }
    }
}

/// A binary message with a mask that changes nothing.
pub(super) fn browser_frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    if message.len() < 126 {
        frame.push(0x80 | u8::try_from(message.len()).unwrap());
    } else if let Ok(length) = u16::try_from(message.len()) {
        frame.push(0xfe);
        frame.extend_from_slice(&length.to_be_bytes());
    } else {
        frame.push(0xff);
        frame.extend_from_slice(&(message.len() as u64).to_be_bytes());
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(message);
    frame
}
