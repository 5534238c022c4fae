//! The WebSocket handshake as ttyd 1.7.7 does it: whoever asks for something else gets no answer at all.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::machine::TryParse as _;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response, create_response, write_response};
use tokio_tungstenite::tungstenite::http::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// The path that ttyd serves its WebSocket on.
const PATH: &str = "/ws";

/// The sub-protocol of ttyd.
const SUB_PROTOCOL: &str = "tty";

/// Longest request head.
const MAX_HEAD_BYTES: usize = 8 * 1024;

/// Longest user name: ttyd 1.7.7 keeps it in 30 bytes and refuses longer ones.
const MAX_USER_BYTES: usize = 29;

/// Longest message of a client. ttyd has no limit, which costs it 137 MB for one message.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// The client asked for something that ttyd closes the connection for, without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// Reads the request, and answers it if it is for a terminal.
///
/// Returns the WebSocket and, when `user_header` is given, the user's name from it.
pub(super) async fn accept<S>(
    mut stream: S,
    user_header: Option<&HeaderName>,
) -> Result<(WebSocketStream<S>, Option<OsString>), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (request, rest) = read_request(&mut stream).await?;
    let response = answer(&request)?;
    let user = user_header.map(|header| user_name(&request, header)).transpose()?;

    let mut head = Vec::new();
    write_response(&mut head, &response).map_err(|_| Refused)?;
    stream.write_all(&head).await.map_err(|_| Refused)?;
    stream.flush().await.map_err(|_| Refused)?;
    let websocket = WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(limits())).await;
    Ok((websocket, user))
}

/// Returns the request and what the client has sent after it.
async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Request, Vec<u8>), Refused> {
    let mut head = Vec::with_capacity(1024);
    while head.len() < MAX_HEAD_BYTES {
        let read = stream.read_buf(&mut head).await.map_err(|_| Refused)?;
        if read == 0 {
            return Err(Refused);
        }
        if let Some((length, request)) = Request::try_parse(&head).map_err(|_| Refused)? {
            return Ok((request, head.split_off(length)));
        }
    }
    Err(Refused)
}

fn answer(request: &Request) -> Result<Response, Refused> {
    let offers_tty = request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim() == SUB_PROTOCOL);
    if request.uri().path() != PATH || !offers_tty {
        return Err(Refused);
    }
    let mut response = create_response(request).map_err(|_| Refused)?;
    // libwebsockets writes it so; clients have to compare without regard to case (RFC 6455 §4.1).
    response
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("WebSocket"));
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUB_PROTOCOL));
    Ok(response)
}

fn user_name(request: &Request, header: &HeaderName) -> Result<OsString, Refused> {
    let value = request.headers().get(header).ok_or(Refused)?;
    if value.len() > MAX_USER_BYTES {
        return Err(Refused);
    }
    Ok(OsString::from_vec(value.as_bytes().to_vec()))
}

/// Small buffers: a device with one session and a process with a hundred devices both want that.
fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 * 1024)
        .write_buffer_size(0)
        .max_write_buffer_size(32 * 1024)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES))
}
