//! What the proxy needs from outside, besides the storage ports of the domain.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::chassis::health::Probe;
use common::domain::{DeviceDirectory, NetworkPlan, SessionLedger, TicketOffice, VpnAddress};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

/// A byte stream to a device, TCP by whatever means.
pub trait DeviceStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> DeviceStream for T {}

/// The way to devices through their network.
#[async_trait]
pub trait DeviceDialer: Send + Sync + 'static {
    /// Connects to a port of a device before the deadline.
    async fn dial(&self, address: VpnAddress, port: u16, deadline: Instant)
    -> Result<Box<dyn DeviceStream>, DialError>;
}

/// Why a device could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nothing came back before the deadline: the device or its network is away.
    #[error("the device did not answer in time")]
    TimedOut,
    /// The device is there, and nothing listens on the port.
    #[error("the device refused the connection")]
    Refused,
    /// There is no way to the device: the hub does not know it, or is away itself.
    #[error("there is no way to the device")]
    NoWay {
        /// What the network said.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// The storage ports that the proxy uses.
#[derive(Clone)]
pub struct Storage {
    /// The devices.
    pub directory: Arc<dyn DeviceDirectory>,
    /// The record of sessions.
    pub ledger: Arc<dyn SessionLedger>,
    /// Which prefixes the device network has.
    pub plan: Arc<dyn NetworkPlan>,
    /// One-time tickets.
    pub tickets: Arc<dyn TicketOffice>,
    /// How `/readyz` asks whether the database is there.
    pub probe: Arc<dyn Probe>,
}

impl fmt::Debug for Storage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Storage").finish_non_exhaustive()
    }
}
