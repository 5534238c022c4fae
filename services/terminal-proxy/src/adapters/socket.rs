use std::io;

use async_trait::async_trait;
use common::domain::VpnAddress;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::ports::{DeviceDialer, DeviceStream, DialError};

/// Reaches devices by the machine's own routes: the WireGuard interface is in the same network namespace.
#[derive(Debug, Clone, Copy, Default)]
pub struct SocketNetwork;

#[async_trait]
impl DeviceDialer for SocketNetwork {
    async fn dial(
        &self,
        address: VpnAddress,
        port: u16,
        deadline: Instant,
    ) -> Result<Box<dyn DeviceStream>, DialError> {
        let connected = timeout_at(deadline, TcpStream::connect((address.ip(), port))).await;
        let stream = connected.map_err(|_elapsed| DialError::TimedOut)?.map_err(dial_error)?;
        // A keystroke must not wait for the answer to the one before (Nagle, 40 ms).
        stream.set_nodelay(true).map_err(dial_error)?;
        Ok(Box::new(stream))
    }
}

fn dial_error(error: io::Error) -> DialError {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        DialError::Refused
    } else if error.kind() == io::ErrorKind::TimedOut {
        DialError::TimedOut
    } else {
        DialError::NoWay {
            source: Box::new(error),
        }
    }
}
