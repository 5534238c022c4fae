//! A browser's end of a terminal that compares what it is shown.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::failure::{Failure, ensure};
use crate::scenarios::socket::{self, Socket};

/// How long a shell may be silent when something is due.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a command's answer stands between; the quotes keep it out of the echo.
const MARK: (&str, &str) = ("<<", ">>");

/// How much is read before the proxy is told.
const ACKNOWLEDGE_BYTES: u64 = 64 * 1024;

pub(in crate::scenarios) struct Terminal {
    socket: Socket,
    /// Output that was not asked for yet.
    unread: Vec<u8>,
    numbering: Option<Numbering>,
}

/// Where the output of a session that can be resumed stands.
struct Numbering {
    session: String,
    resumed: bool,
    seen: u64,
    acknowledged: u64,
}

impl Terminal {
    pub(in crate::scenarios) async fn open(address: SocketAddr, path: &str, token: &str) -> Result<Self, Failure> {
        Self::connect(address, path, token, "tty").await
    }

    /// Opens one with numbered output, and reads the greeting.
    pub(in crate::scenarios) async fn open_to_resume(
        address: SocketAddr,
        path: &str,
        token: &str,
    ) -> Result<Self, Failure> {
        let mut terminal = Self::connect(address, path, token, "tty.resume.v1").await?;
        let greeting = timeout(PATIENCE, terminal.socket.next()).await?;
        let Some(Message::Text(text)) = greeting.transpose()? else {
            return Err(Failure::new("the proxy does not greet"));
        };
        let greeting: serde_json::Value = serde_json::from_str(&text)?;
        ensure(greeting["lost"] == 0, format_args!("output is lost: {greeting}"))?;
        let offset = greeting["offset"].as_u64().unwrap_or_default();
        terminal.numbering = Some(Numbering {
            session: greeting["session_id"].as_str().unwrap_or_default().to_owned(),
            resumed: greeting["resumed"] == true,
            seen: offset,
            acknowledged: offset,
        });
        Ok(terminal)
    }

    /// Comes back over another connection to where the output stands; the old one is dropped before or after.
    pub(in crate::scenarios) async fn come_back(
        self,
        address: SocketAddr,
        path: &str,
        token: &str,
        drop_first: bool,
    ) -> Result<Self, Failure> {
        let Self {
            socket,
            unread,
            numbering,
        } = self;
        let numbering = numbering.ok_or_else(|| Failure::new("output is not numbered"))?;
        let path = format!("{path}?resume={}&offset={}", numbering.session, numbering.seen);
        let old = if drop_first { None } else { Some(socket) };
        let mut again = Self::open_to_resume(address, &path, token).await?;
        drop(old);
        let resumed = again.numbering.as_ref().is_some_and(|numbering| numbering.resumed);
        ensure(resumed, "the shell is a new one")?;
        again.unread = unread;
        Ok(again)
    }

    async fn connect(address: SocketAddr, path: &str, token: &str, protocol: &'static str) -> Result<Self, Failure> {
        let socket = socket::open(address, path, token, protocol).await?;
        let mut terminal = Self {
            socket,
            unread: Vec::new(),
            numbering: None,
        };
        terminal.say(br#"{"AuthToken":"","columns":100,"rows":30}"#).await?;
        Ok(terminal)
    }

    /// Sends a message of ttyd's protocol.
    pub(in crate::scenarios) async fn say(&mut self, message: &'static [u8]) -> Result<(), Failure> {
        Ok(self.socket.send(Message::Binary(Bytes::from_static(message))).await?)
    }

    pub(in crate::scenarios) async fn type_line(&mut self, line: &str) -> Result<(), Failure> {
        let message = Message::Binary(format!("0{line}\r").into());
        Ok(self.socket.send(message).await?)
    }

    /// Runs a command and returns what it printed, without the end of the line.
    pub(in crate::scenarios) async fn ask(&mut self, command: &str) -> Result<String, Failure> {
        let (begin, end) = MARK;
        self.type_line(&format!("echo '{begin}'; {command}; echo '{end}'"))
            .await?;
        self.until(&format!("{begin}\r\n")).await?;
        let answer = self.until(&format!("{end}\r\n")).await?;
        Ok(answer.trim_end().to_owned())
    }

    /// Reads up to and including `end`; returns what stood before it.
    pub(in crate::scenarios) async fn until(&mut self, end: &str) -> Result<String, Failure> {
        loop {
            let found = self
                .unread
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let rest = self.unread.split_off(at + end.len());
                let before = std::mem::replace(&mut self.unread, rest);
                let before = before.get(..at).unwrap_or_default();
                return Ok(String::from_utf8_lossy(before).into_owned());
            }
            self.read(end).await?;
        }
    }

    /// Reads exactly this.
    pub(in crate::scenarios) async fn expect(&mut self, expected: &[u8]) -> Result<(), Failure> {
        let mut at = 0;
        while at < expected.len() {
            let due = expected.get(at..).unwrap_or_default();
            let came = std::mem::take(&mut self.unread);
            let (now, later) = came.split_at(came.len().min(due.len()));
            ensure(
                due.starts_with(now),
                format_args!("after {at} bytes the output differs"),
            )?;
            at += now.len();
            self.unread = later.to_vec();
            if self.unread.is_empty() && at < expected.len() {
                self.read("more output").await?;
            }
        }
        Ok(())
    }

    /// Reads to the end and returns the close code.
    pub(in crate::scenarios) async fn closed(&mut self) -> Result<u16, Failure> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await?;
            match message.ok_or_else(|| Failure::new("the connection ended without a Close"))?? {
                Message::Close(Some(frame)) => return Ok(frame.code.into()),
                Message::Close(None) => return Err(Failure::new("a Close without a code")),
                Message::Binary(_) | Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    async fn read(&mut self, awaited: &str) -> Result<(), Failure> {
        let message = timeout(PATIENCE, self.socket.next()).await;
        let message = message.map_err(|_elapsed| {
            let seen = String::from_utf8_lossy(&self.unread);
            Failure::new(format_args!("{awaited:?} does not come; seen {seen:?}"))
        })?;
        let message = message.ok_or_else(|| Failure::new("the connection ended"))??;
        ensure(!message.is_close(), format_args!("closed: {message:?}"))?;
        if let Message::Binary(bytes) = message
            && let Some(output) = bytes.strip_prefix(b"0")
        {
            self.unread.extend_from_slice(output);
            self.acknowledge(output.len() as u64).await?;
        }
        Ok(())
    }

    async fn acknowledge(&mut self, bytes: u64) -> Result<(), Failure> {
        let Some(numbering) = &mut self.numbering else {
            return Ok(());
        };
        numbering.seen += bytes;
        if numbering.seen - numbering.acknowledged >= ACKNOWLEDGE_BYTES {
            numbering.acknowledged = numbering.seen;
            let message = Message::Binary(format!("4{}", numbering.seen).into());
            self.socket.send(message).await?;
        }
        Ok(())
    }
}
