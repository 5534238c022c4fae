//! Requests byte by byte: no client would send most of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

/// For the slowest answer there is: after a deadline of the bridge's own.
const PATIENCE: Duration = Duration::from_secs(40);

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    /// 0: nothing.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(value)
    }
}

/// Sends bytes from a loopback address of the caller's choice, and reads until the connection ends.
pub(crate) async fn exchange(server: SocketAddr, from: Ipv4Addr, request: &[u8]) -> Reply {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    let mut answer = Vec::new();
    let conversation = async {
        // A server that has seen enough may close before it has read everything.
        if stream.write_all(request).await.is_ok() {
            stream.flush().await.unwrap_or(());
        }
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..length]);
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, conversation).await.is_ok(),
        "no answer and no end: {}",
        String::from_utf8_lossy(request)
    );
    parse(&answer)
}

fn parse(answer: &[u8]) -> Reply {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Reply::default();
    };
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    Reply {
        status,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: answer[end + 4..].to_vec(),
    }
}
