use std::io;
use std::sync::Arc;

use tokio::sync::Notify;

use super::{Shared, TunnelStream};

/// A port of a host in the tunnel on which connections are accepted. Dropping it closes the port;
/// accepted connections live on.
#[derive(Debug)]
pub struct TunnelListener {
    shared: Arc<Shared>,
    port: u16,
    ready: Arc<Notify>,
}

impl TunnelListener {
    pub(super) fn new(shared: Arc<Shared>, port: u16) -> io::Result<Self> {
        let ready = Arc::new(Notify::new());
        shared.lock().listen(port, Arc::clone(&ready))?;
        Ok(Self { shared, port, ready })
    }

    /// Waits for the next connection; fails only when the tunnel has been closed.
    pub async fn accept(&self) -> io::Result<TunnelStream> {
        loop {
            if let Some(handle) = self.shared.lock().accept(self.port)? {
                self.ready.notify_one(); // there may be more, and notifications are not counted
                return Ok(TunnelStream::new(Arc::clone(&self.shared), handle));
            }
            self.ready.notified().await;
        }
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for TunnelListener {
    fn drop(&mut self) {
        self.shared.lock().stop_listening(self.port, self.shared.now());
        self.shared.changed.notify_one();
    }
}
