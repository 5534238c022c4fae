//! One terminal session: bytes between a WebSocket and a shell, and how it ends.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use pty_process::{ReadPty, WritePty};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_util::sync::CancellationToken;

use super::message::{ClientMessage, NO_PREFERENCES, OUTPUT, TITLE, WindowSize};
use super::shell::{Process, Shell, into_io};

/// Longest output frame, with its command byte, as ttyd 1.7.7 cuts them.
const MAX_OUTPUT_FRAME: usize = 4096;

/// How much longer than a ping interval a client may be silent (libwebsockets' hang-up time).
const SILENCE_MARGIN: Duration = Duration::from_secs(7);

/// When the shell is gone, its terminal is read until it is empty: until the end, which nobody reaches
/// while a background job holds the terminal, or until it was quiet for this long…
const LAST_OUTPUT_QUIET: Duration = Duration::from_millis(100);

/// …or until this much came, more than the kernel keeps for a terminal.
const LAST_OUTPUT_BYTES: usize = 64 * 1024;

/// How long the goodbye may take: a Close frame, and the client's own end of the connection.
const GOODBYE: Duration = Duration::from_secs(2);

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The shell ended, or could not be started.
    ShellEnded,
    /// The client closed the connection or it broke.
    ClientLeft,
    /// The client gave no sign of life.
    ClientSilent,
    /// The client sent input before it started the shell, or broke the WebSocket protocol.
    Misbehaved,
    /// The client sent a message that is too large.
    TooLarge,
    /// This process ends.
    Stopped,
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ShellEnded => "shell ended",
            Self::ClientLeft => "client left",
            Self::ClientSilent => "client silent",
            Self::Misbehaved => "client misbehaved",
            Self::TooLarge => "message too large",
            Self::Stopped => "stopped",
        })
    }
}

impl From<WebSocketError> for Ending {
    fn from(error: WebSocketError) -> Self {
        match error {
            WebSocketError::Capacity(_) => Self::TooLarge,
            WebSocketError::Protocol(_) | WebSocketError::Utf8(_) => Self::Misbehaved,
            WebSocketError::ConnectionClosed
            | WebSocketError::AlreadyClosed
            | WebSocketError::Io(_)
            | WebSocketError::Tls(_)
            | WebSocketError::WriteBufferFull(_)
            | WebSocketError::AttackAttempt
            | WebSocketError::Url(_)
            | WebSocketError::Http(_)
            | WebSocketError::HttpFormat(_) => Self::ClientLeft,
        }
    }
}

type Sink<S> = SplitSink<WebSocketStream<S>, Message>;
type Source<S> = SplitStream<WebSocketStream<S>>;

/// What a session runs, for whom, and its pace.
pub(super) struct Session<'a> {
    pub(super) shell: &'a Shell,
    pub(super) user: Option<OsString>,
    pub(super) ping_interval: Duration,
    pub(super) stop: CancellationToken,
}

impl Session<'_> {
    /// Serves the session to its end.
    pub(super) async fn run<S>(self, websocket: WebSocketStream<S>) -> Ending
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut sink, mut source) = websocket.split();
        let (ending, process) = match self.begin(&mut sink, &mut source).await {
            Ok(mut process) => (self.relay(&mut sink, &mut source, &mut process).await, Some(process)),
            Err(ending) => (ending, None),
        };
        let websocket = sink.reunite(source).expect("both halves are of one WebSocket");
        let hang_up = async {
            if let Some(process) = process {
                process.hang_up().await;
            }
        };
        tokio::join!(hang_up, say_goodbye(websocket, ending));
        ending
    }

    /// Waits for the first message and starts the shell.
    async fn begin<S>(&self, sink: &mut Sink<S>, source: &mut Source<S>) -> Result<Process, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let size = tokio::select! {
            size = first_size(source, self.silence()) => size?,
            ending = keep_pinging(sink, self.pings()) => return Err(ending),
            () = self.stop.cancelled() => return Err(Ending::Stopped),
        };
        sink.send(frame(TITLE, self.shell.title().as_bytes())).await?;
        sink.send(Message::Binary(Bytes::from_static(NO_PREFERENCES))).await?;
        match self.shell.start(size, self.user.as_deref()) {
            Ok(process) => Ok(process),
            Err(error) => {
                tracing::warn!(%error, "The shell could not be started");
                sink.send(frame(OUTPUT, format!("execvp failed: {error}\r\n").as_bytes()))
                    .await?;
                Err(Ending::ShellEnded)
            }
        }
    }

    async fn relay<S>(&self, sink: &mut Sink<S>, source: &mut Source<S>, process: &mut Process) -> Ending
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (output, input) = process.pty.split();
        tokio::select! {
            ending = pass_input(source, input, self.silence()) => ending,
            ending = pass_output(sink, output, &mut process.child, self.pings()) => ending,
            () = self.stop.cancelled() => Ending::Stopped,
        }
    }

    fn silence(&self) -> Duration {
        self.ping_interval + SILENCE_MARGIN
    }

    fn pings(&self) -> Interval {
        let mut pings = interval(self.ping_interval);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset(); // the first one is due after an interval, not at once
        pings
    }
}

/// Returns the window's size from the message that starts the shell. A resize before it is ignored;
/// input before it ends the connection, as with ttyd.
async fn first_size<S>(source: &mut Source<S>, silence: Duration) -> Result<WindowSize, Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match next_message(source, silence).await? {
            ClientMessage::Start(size) => return Ok(size),
            ClientMessage::Input(_) => return Err(Ending::Misbehaved),
            ClientMessage::Resize(_) | ClientMessage::Ignored => {}
        }
    }
}

/// Returns the next message with a command; control frames only prove that the client lives.
async fn next_message<S>(source: &mut Source<S>, silence: Duration) -> Result<ClientMessage, Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let next = timeout(silence, source.next())
            .await
            .map_err(|_| Ending::ClientSilent)?;
        match next.ok_or(Ending::ClientLeft)?? {
            Message::Binary(payload) => return Ok(ClientMessage::read(&payload)),
            Message::Text(text) => return Ok(ClientMessage::read(&Bytes::from(text))),
            Message::Close(_) => return Err(Ending::ClientLeft),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

async fn keep_pinging<S>(sink: &mut Sink<S>, mut pings: Interval) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        pings.tick().await;
        if let Err(error) = sink.send(Message::Ping(Bytes::new())).await {
            return error.into();
        }
    }
}

/// Client → shell. While the shell does not take its input, no more is read from the client.
async fn pass_input<S>(source: &mut Source<S>, mut input: WritePty<'_>, silence: Duration) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = match next_message(source, silence).await {
            Ok(message) => message,
            Err(ending) => return ending,
        };
        match message {
            // A terminal without a shell takes no input; how that ends is the other direction's matter.
            ClientMessage::Input(bytes) => log_failure("input", input.write_all(&bytes).await),
            ClientMessage::Resize(size) => log_failure("resize", input.resize(size.into()).map_err(into_io)),
            ClientMessage::Start(_) | ClientMessage::Ignored => {}
        }
    }
}

fn log_failure(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, what, "The terminal did not take it");
    }
}

/// Shell → client. While the client does not take its output, no more is read from the shell: the kernel
/// then stops the shell, and nothing grows.
async fn pass_output<S>(sink: &mut Sink<S>, mut output: ReadPty<'_>, child: &mut Child, mut pings: Interval) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut buffer = BytesMut::with_capacity(MAX_OUTPUT_FRAME);
    loop {
        let sent = tokio::select! {
            payload = next_output(&mut output, &mut buffer) => match payload {
                Some(payload) => sink.send(Message::Binary(payload)).await,
                None => return Ending::ShellEnded,
            },
            _ = pings.tick() => sink.send(Message::Ping(Bytes::new())).await,
            _ = child.wait() => return pass_last_output(sink, output, buffer).await,
        };
        if let Err(error) = sent {
            return error.into();
        }
    }
}

async fn pass_last_output<S>(sink: &mut Sink<S>, mut output: ReadPty<'_>, mut buffer: BytesMut) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut passed = 0;
    while passed < LAST_OUTPUT_BYTES {
        let Ok(Some(payload)) = timeout(LAST_OUTPUT_QUIET, next_output(&mut output, &mut buffer)).await else {
            break;
        };
        passed += payload.len();
        if let Err(error) = sink.send(Message::Binary(payload)).await {
            return error.into();
        }
    }
    Ending::ShellEnded
}

/// Reads one output frame; none at the end of the terminal (EIO: nobody holds its other side any more).
async fn next_output(output: &mut ReadPty<'_>, buffer: &mut BytesMut) -> Option<Bytes> {
    buffer.clear();
    buffer.reserve(MAX_OUTPUT_FRAME);
    buffer.put_u8(OUTPUT);
    let mut room = (&mut *buffer).limit(MAX_OUTPUT_FRAME - 1);
    match output.read_buf(&mut room).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(buffer.split().freeze()),
    }
}

fn frame(command: u8, payload: &[u8]) -> Message {
    let mut bytes = BytesMut::with_capacity(payload.len() + 1);
    bytes.put_u8(command);
    bytes.put_slice(payload);
    Message::Binary(bytes.freeze())
}

/// Ends the connection. A client's Close is answered; a message that is too large gets one; the end of
/// the shell is a bare FIN without a Close frame, which is what ttyd 1.7.7 does.
async fn say_goodbye<S>(mut websocket: WebSocketStream<S>, ending: Ending)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let goodbye = async {
        if ending == Ending::TooLarge {
            let close = CloseFrame {
                code: CloseCode::Size,
                reason: "message too large".into(),
            };
            websocket.send(Message::Close(Some(close))).await?;
        }
        websocket.flush().await?;
        let stream = websocket.get_mut();
        stream.shutdown().await?;
        // A socket that is closed with unread bytes resets the connection, and the last output is lost.
        let mut unread = [0; 512];
        while stream.read(&mut unread).await? > 0 {}
        Ok::<(), WebSocketError>(())
    };
    if let Ok(Err(error)) = timeout(GOODBYE, goodbye).await {
        tracing::debug!(%error, "The client was gone before the goodbye");
    }
}
