//! A ttyd 1.7.7 in the test's hands: it echoes, and misbehaves on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use common::domain::VpnAddress;
use futures_util::{SinkExt as _, StreamExt as _};
use terminal_proxy::ports::{DeviceDialer, DeviceStream, DialError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// How the device behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As ttyd: title, preferences, a prompt, and an echo; `0exit` ends the process.
    Good,
    /// Nothing listens on the port.
    Refuses,
    /// Nothing comes back.
    Away,
    /// As ttyd when it refuses: closes without a word.
    Closes,
    /// Answers the handshake with these lines in place of its own.
    Answers(&'static str),
}

/// The device network with one device in it, which has every address.
pub(crate) struct TestDevice {
    address: SocketAddr,
    mood: Mutex<Mood>,
    seen: Arc<Mutex<Seen>>,
    /// What its processes show by themselves.
    shows: broadcast::Sender<String>,
}

/// What the device has received.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The heads of the requests.
    pub(crate) heads: Vec<String>,
    /// The messages, command bytes included.
    pub(crate) messages: Vec<String>,
    /// How many signs of life came that nobody asked for.
    pub(crate) pongs: usize,
    /// How many connections ended.
    pub(crate) ended: usize,
}

impl TestDevice {
    #[expect(clippy::disallowed_methods, reason = "the runtime of the test ends it")]
    pub(crate) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let device = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            mood: Mutex::new(Mood::Good),
            seen: Arc::default(),
            shows: broadcast::channel(1024).0,
        });
        let accepting = Arc::clone(&device);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&accepting).serve(stream));
            }
        });
        device
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn forget_messages(&self) {
        self.seen.lock().unwrap().messages.clear();
    }

    /// Lets every process show something.
    pub(crate) fn show(&self, output: &str) {
        self.shows.send(format!("0{output}")).unwrap();
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    /// Looks at what it has received.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Seen) -> R) -> R {
        look(&self.seen.lock().unwrap())
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let key = head
            .split("Sec-WebSocket-Key: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next())
            .unwrap();
        let accept = derive_accept_key(key.as_bytes());
        self.seen.lock().unwrap().heads.push(head.replace(key, "<key>"));
        let lines = match self.mood() {
            Mood::Good | Mood::Refuses | Mood::Away => {
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: tty\r\n\r\n"
            }
            Mood::Closes => return,
            Mood::Answers(lines) => lines,
        };
        stream
            .write_all(lines.replace("{accept}", &accept).as_bytes())
            .await
            .unwrap();
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let mut shows = self.shows.subscribe();
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                Ok(output) = shows.recv() => {
                    if socket.send(Message::Binary(Bytes::from(output))).await.is_err() {
                        break;
                    }
                    continue;
                }
            };
            match message {
                Some(Ok(Message::Binary(bytes))) if self.answer(&mut socket, &bytes).await.is_none() => break,
                Some(Ok(Message::Pong(_))) => self.seen.lock().unwrap().pongs += 1,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        self.seen.lock().unwrap().ended += 1;
        // A process that ends is a bare FIN: no Close.
    }

    async fn answer(&self, socket: &mut WebSocketStream<TcpStream>, bytes: &[u8]) -> Option<()> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.seen.lock().unwrap().messages.push(text.clone());
        if text == "0exit" {
            return None;
        }
        let frames = match bytes.first()? {
            b'{' => vec!["1sh (device)".to_owned(), "2{ }".to_owned(), "0$ ".to_owned()],
            b'0' => vec![text],
            _ => vec![],
        };
        for frame in frames {
            socket.send(Message::Binary(Bytes::from(frame))).await.ok()?;
        }
        Some(())
    }
}

#[async_trait]
impl DeviceDialer for TestDevice {
    async fn dial(&self, _: VpnAddress, _: u16, deadline: Instant) -> Result<Box<dyn DeviceStream>, DialError> {
        match self.mood() {
            Mood::Refuses => Err(DialError::Refused),
            Mood::Away => {
                tokio::time::sleep_until(deadline).await;
                Err(DialError::TimedOut)
            }
            Mood::Good | Mood::Closes | Mood::Answers(_) => {
                Ok(Box::new(TcpStream::connect(self.address).await.unwrap()))
            }
        }
    }
}
