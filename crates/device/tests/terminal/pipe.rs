//! A terminal server and its clients in one process, with pipes between them.

use std::time::Duration;

use device::terminal::{Shell, Terminal, TerminalSettings};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longer than anything here takes; a test that hits it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What the pipe between client and server holds: less than one output frame.
const PIPE_BYTES: usize = 2048;

/// A terminal whose connections are pipes.
pub(crate) struct Server {
    terminal: Terminal,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Server {
    pub(crate) fn new(shell: Shell) -> Self {
        Self::with(settings(shell))
    }

    pub(crate) fn with(settings: TerminalSettings) -> Self {
        Self {
            terminal: Terminal::new(settings),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    pub(crate) fn open(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(PIPE_BYTES);
        let _session: JoinHandle<()> = self
            .tasks
            .spawn(self.terminal.clone().serve_connection(server, self.stop.clone()));
        client
    }

    pub(crate) async fn connect(&self) -> Client {
        self.try_connect(None).await.unwrap()
    }

    pub(crate) async fn try_connect(&self, header: Option<(HeaderName, &str)>) -> Result<Client, Error> {
        let mut request = "ws://device:7681/ws".into_client_request()?;
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", HeaderValue::from_static("tty"));
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let connected = tokio_tungstenite::client_async(request, self.open());
        let (websocket, _response) = timeout(PATIENCE, connected).await.unwrap()?;
        Ok(Client { websocket })
    }

    pub(crate) async fn all_sessions_ended(&self) {
        self.tasks.close();
        timeout(PATIENCE, self.tasks.wait()).await.unwrap();
        self.tasks.reopen();
    }
}

/// A client of ttyd.
pub(crate) struct Client {
    pub(crate) websocket: WebSocketStream<DuplexStream>,
}

impl Client {
    pub(crate) async fn say(&mut self, message: &str) {
        self.websocket.send(Message::text(message)).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.websocket.next()).await.unwrap()
    }

    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        loop {
            match self.next().await {
                Some(Ok(Message::Binary(payload))) => {
                    assert!(payload.len() <= 4096, "{} bytes in one frame", payload.len());
                    return payload.to_vec();
                }
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("{other:?} instead of a frame"),
            }
        }
    }

    /// Returns the server's Close frame.
    pub(crate) async fn close_frame(&mut self) -> CloseFrame {
        loop {
            match self.next().await {
                Some(Ok(Message::Close(frame))) => return frame.unwrap(),
                Some(Ok(_)) => {}
                other => panic!("{other:?} instead of a Close"),
            }
        }
    }

    /// Returns the shell's output up to and with `end`.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut output = String::new();
        let reading = async {
            while !output.contains(end) {
                if let [b'0', text @ ..] = self.frame().await.as_slice() {
                    output.push_str(str::from_utf8(text).unwrap());
                }
            }
        };
        let read = timeout(PATIENCE, reading).await;
        assert!(read.is_ok(), "{end:?} did not come: {output:?}");
        output
    }

    /// Returns all output; the connection has to end without a Close frame.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut output = Vec::new();
        loop {
            match self.next().await {
                Some(Ok(Message::Binary(payload))) => {
                    assert!(payload.len() <= 4096, "{} bytes in one frame", payload.len());
                    if let [b'0', text @ ..] = &payload[..] {
                        output.extend_from_slice(text);
                    }
                }
                Some(Ok(Message::Ping(_))) => {}
                None | Some(Err(Error::Protocol(_) | Error::Io(_))) => {
                    return String::from_utf8(output).unwrap();
                }
                Some(Ok(Message::Close(frame))) => panic!("a Close frame: {frame:?}"),
                Some(other) => panic!("{other:?}"),
            }
        }
    }
}

pub(crate) fn settings(shell: Shell) -> TerminalSettings {
    TerminalSettings {
        shell,
        ..TerminalSettings::default()
    }
}

pub(crate) fn shell() -> Shell {
    Shell::command("/bin/sh", vec!["-i".into()]).with_variable("PS1", "$ ")
}

pub(crate) fn command(script: &str) -> Shell {
    Shell::command("/bin/sh", vec!["-c".into(), script.into()])
}
