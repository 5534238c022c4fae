//! What the proxy needs from outside, besides the storage ports of the domain.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use common::chassis::health::Probe;
use common::domain::{
    AuditTrail, DeviceDirectory, Digest, NetworkPlan, ProxyProcesses, SessionId, SessionLedger, TicketOffice,
    Timestamp, VpnAddress,
};
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

/// Where recordings are kept.
#[async_trait]
pub trait RecordingShelf: Send + Sync + 'static {
    /// Begins a session's recording.
    async fn begin(&self, id: SessionId) -> io::Result<Box<dyn RecordingSink>>;

    /// Opens a session's recording, as far as it is written; none when there is none, or none any more.
    async fn open(&self, id: SessionId) -> io::Result<Option<Box<dyn AsyncRead + Send + Unpin>>>;

    /// Lists what is there.
    async fn list(&self) -> io::Result<Vec<SessionId>>;

    /// Computes what the chain of a recording ends with; none when its blocks do not fit.
    async fn verify(&self, id: SessionId) -> io::Result<Option<Digest>>;

    /// Removes what was last written before a time; returns how many.
    async fn remove_before(&self, time: Timestamp) -> io::Result<u64>;
}

/// A recording that is being written. Its methods may block.
pub trait RecordingSink: Send {
    /// Appends a block, and what the chain is behind it.
    fn append(&mut self, block: &[u8], chain: &Digest) -> io::Result<()>;

    /// Makes it durable.
    fn finish(&mut self) -> io::Result<()>;
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
    /// The processes of this service.
    pub processes: Arc<dyn ProxyProcesses>,
    /// One-time tickets.
    pub tickets: Arc<dyn TicketOffice>,
    /// The record of everything that is no beginning or end of a session.
    pub audit: Arc<dyn AuditTrail>,
    /// How `/readyz` asks whether the database is there.
    pub probe: Arc<dyn Probe>,
}

impl fmt::Debug for Storage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Storage").finish_non_exhaustive()
    }
}
