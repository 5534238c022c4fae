//! A ttyd that echoes, for thousands of sessions: it has the first address of the device network on this machine.

use std::net::Ipv4Addr;

use common::chassis::shutdown::Shutdown;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::failure::{Failure, ensure};

/// The device network; nothing else here uses it.
pub(super) const NETWORK: &str = "10.213.78.0/24";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 213, 78, 2);
pub(super) const PORT: u16 = 7681;

/// Runs until it is dropped.
pub(super) struct Device {
    tasks: Shutdown,
}

impl Device {
    pub(super) async fn start() -> Result<Self, Failure> {
        // What a run that was killed left behind.
        drop(address("del").await);
        address("add").await?;
        let listener = TcpListener::bind((ADDRESS, PORT)).await?;
        let tasks = Shutdown::new();
        let accepting = tasks.clone();
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let hard = accepting.hard_token();
                drop(accepting.spawn(async move { hard.run_until_cancelled(serve(stream)).await }));
            }
        };
        let hard = tasks.hard_token();
        drop(tasks.spawn(async move { hard.run_until_cancelled(accept).await }));
        Ok(Self { tasks })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.tasks.end();
        let mut del = std::process::Command::new("ip");
        drop(
            del.args(["addr", "del", &format!("{ADDRESS}/32"), "dev", "lo"])
                .status(),
        );
    }
}

async fn address(action: &str) -> Result<(), Failure> {
    let mut ip = Command::new("ip");
    let output = ip
        .args(["addr", action, &format!("{ADDRESS}/32"), "dev", "lo"])
        .output();
    let output = output.await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.success(), format_args!("ip addr {action}: {said}"))
}

/// A prompt, and an echo of everything; `exit` ends it with a bare FIN, and `flood` floods until nobody listens.
async fn serve(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut socket = accept_hdr_async(stream, speak_tty).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        let Message::Binary(message) = message else { continue };
        let answer = match message.as_ref() {
            [b'{', ..] => Bytes::from_static(b"0$ "),
            b"0exit" => return Some(()),
            b"0flood" => loop {
                let output = Bytes::from(vec![b'0'; 4096]);
                socket.send(Message::Binary(output)).await.ok()?;
            },
            [b'0', ..] => message,
            _ => continue,
        };
        socket.send(Message::Binary(answer)).await.ok()?;
    }
    Some(())
}

#[expect(
    clippy::result_large_err,
    clippy::unnecessary_wraps,
    reason = "the signature is tungstenite's"
)]
fn speak_tty(
    _: &Request,
    mut response: Response,
) -> Result<Response, tokio_tungstenite::tungstenite::handshake::server::ErrorResponse> {
    response
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("tty"));
    Ok(response)
}
