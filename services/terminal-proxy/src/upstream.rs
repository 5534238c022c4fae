//! The device's end: dial its ttyd and finish the WebSocket handshake, before the browser hears anything.

mod answer;
mod request;

use std::sync::Arc;
use std::time::Duration;

use common::domain::{Operator, VpnAddress};
use http::HeaderName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::answer::BadAnswer;
use self::answer::Progress;
use self::request::HandshakeRequest;
use crate::ports::{DeviceDialer, DeviceStream, DialError};

/// Longest answer to the handshake; ttyd's has about 130 bytes.
const MAX_ANSWER_BYTES: usize = 4096;

/// How to speak to the ttyd of a device.
#[derive(Debug, Clone)]
pub struct TtydSettings {
    /// The port it listens on, 7681 unless the devices are told otherwise.
    pub port: u16,
    /// The header that ttyd takes the operator's name from (its option `-H`), which becomes `TTYD_USER` in
    /// the shell; none when ttyd runs without.
    pub user_header: Option<HeaderName>,
    /// From the first packet to the end of the handshake.
    pub connect_timeout: Duration,
}

/// Opens terminals on devices.
pub(crate) struct Upstream {
    dialer: Arc<dyn DeviceDialer>,
    settings: TtydSettings,
}

/// A device's ttyd, ready for frames.
pub(crate) struct DeviceConnection {
    pub(crate) stream: Box<dyn DeviceStream>,
    /// What came right behind the handshake.
    pub(crate) early: Vec<u8>,
}

/// Why there is no terminal on the device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the device answered the terminal's handshake in a way that ttyd does not")]
    BadAnswer(#[from] BadAnswer),
}

impl Upstream {
    pub(crate) fn new(dialer: Arc<dyn DeviceDialer>, settings: TtydSettings) -> Self {
        Self { dialer, settings }
    }

    pub(crate) async fn connect(
        &self,
        address: VpnAddress,
        operator: &Operator,
    ) -> Result<DeviceConnection, UpstreamError> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        let mut stream = self.dialer.dial(address, self.settings.port, deadline).await?;
        let request = HandshakeRequest::new(address, &self.settings, operator);
        let handshake = shake_hands(&mut stream, &request);
        let early = timeout_at(deadline, handshake)
            .await
            .map_err(|_elapsed| BadAnswer::Silence)??;
        Ok(DeviceConnection { stream, early })
    }
}

/// Whether these bytes are a willing ttyd's whole answer to a handshake with this key.
pub(crate) fn check_answer(received: &[u8], key: &str) -> bool {
    matches!(answer::check(received, key), Ok(Progress::Accepted { .. }))
}

/// Sends the request and reads up to the end of the answer's head; returns what came behind it.
async fn shake_hands(stream: &mut Box<dyn DeviceStream>, request: &HandshakeRequest) -> Result<Vec<u8>, BadAnswer> {
    stream.write_all(request.head().as_bytes()).await?;
    stream.flush().await?;
    let mut received = Vec::with_capacity(512);
    loop {
        if received.len() >= MAX_ANSWER_BYTES {
            return Err(BadAnswer::NotHttp);
        }
        if stream.read_buf(&mut received).await? == 0 {
            return Err(BadAnswer::Closed);
        }
        match answer::check(&received, request.key())? {
            Progress::NeedsMore => {}
            Progress::Accepted { head_bytes } => return Ok(received.split_off(head_bytes)),
        }
    }
}
