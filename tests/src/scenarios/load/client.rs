//! A person at a terminal, of whom there are thousands.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::failure::{Failure, ensure};
use crate::scenarios::socket::{self, Socket};

/// How long a person waits for an answer before it counts as none.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Person {
    socket: Socket,
    /// The session to come back to, and whether it was an old one; plain ttyd has none.
    pub(super) greeting: Option<Greeting>,
}

/// What the proxy says first on `tty.resume.v1`.
#[derive(Debug, Clone)]
pub(super) struct Greeting {
    pub(super) session: String,
    pub(super) resumed: bool,
}

impl Person {
    /// Opens a terminal of plain ttyd and waits for its prompt.
    pub(super) async fn open(address: SocketAddr, token: &str) -> Result<Self, Failure> {
        let opened = async {
            let mut person = Self::connect(address, "/terminal/pump-1", token, "tty").await?;
            person.hear(b"0$ ").await?;
            Ok(person)
        };
        timeout(PATIENCE, opened).await?
    }

    /// Opens one that can be resumed, or comes back to one.
    pub(super) async fn open_to_resume(address: SocketAddr, token: &str, old: Option<&str>) -> Result<Self, Failure> {
        let path = match old {
            Some(session) => format!("/terminal/pump-1?resume={session}&offset=0"),
            None => "/terminal/pump-1".to_owned(),
        };
        let opened = async {
            let mut person = Self::connect(address, &path, token, "tty.resume.v1").await?;
            let Message::Text(text) = person.next().await? else {
                return Err(Failure::new("the proxy does not greet"));
            };
            let greeting: Value = serde_json::from_str(&text)?;
            person.greeting = Some(Greeting {
                session: greeting["session_id"].as_str().unwrap_or_default().to_owned(),
                resumed: greeting["resumed"] == true,
            });
            person.hear(b"0$ ").await?;
            Ok(person)
        };
        timeout(PATIENCE, opened).await?
    }

    async fn connect(address: SocketAddr, path: &str, token: &str, protocol: &'static str) -> Result<Self, Failure> {
        let socket = socket::open(address, path, token, protocol).await?;
        let mut person = Self { socket, greeting: None };
        person.say(br#"{"AuthToken":"","columns":80,"rows":24}"#).await?;
        Ok(person)
    }

    pub(super) async fn say(&mut self, message: &'static [u8]) -> Result<(), Failure> {
        Ok(self.socket.send(Message::Binary(Bytes::from_static(message))).await?)
    }

    /// Types a key and waits for its echo.
    pub(super) async fn echo(&mut self) -> Result<(), Failure> {
        self.say(b"0x").await?;
        timeout(PATIENCE, self.hear(b"0x")).await?
    }

    /// The name of a session that can be resumed.
    pub(super) fn session(&self) -> Result<String, Failure> {
        let greeting = self.greeting.as_ref();
        let greeting = greeting.ok_or_else(|| Failure::new("the session cannot be resumed"))?;
        Ok(greeting.session.clone())
    }

    /// Leaves the shell and waits for the proxy's word that it ended.
    pub(super) async fn exit(self) -> Result<(), Failure> {
        let code = self.leave().await?;
        ensure(code == 1000, format_args!("the end of the shell is {code}"))
    }

    /// The same, whatever the word is.
    pub(super) async fn leave(mut self) -> Result<u16, Failure> {
        self.say(b"0exit").await?;
        timeout(PATIENCE, self.closed()).await?
    }

    /// Waits for the Close.
    pub(super) async fn closed(&mut self) -> Result<u16, Failure> {
        loop {
            if let Message::Close(close) = self.next().await? {
                return Ok(close.map_or(1005, |close| close.code.into()));
            }
        }
    }

    async fn hear(&mut self, expected: &[u8]) -> Result<(), Failure> {
        loop {
            match self.next().await? {
                Message::Binary(bytes) if bytes == expected => return Ok(()),
                Message::Close(close) => return Err(Failure::new(format_args!("closed with {close:?}"))),
                Message::Binary(_) | Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    async fn next(&mut self) -> Result<Message, Failure> {
        let message = self.socket.next().await;
        Ok(message.ok_or_else(|| Failure::new("the connection broke without a word"))??)
    }
}
