use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::domain::WireguardKey;
use tokio::time::interval;
use wireguard::{Hub as _, HubError, PeerConfig, SocketHub};

/// How often the hub is compared with what it shall have.
const SWEEP: Duration = Duration::from_secs(1);

/// What the bridge's reconciler does, with a list in place of a database.
pub(super) struct Reconciler {
    hub: SocketHub,
    wanted: Vec<PeerConfig>,
    seen: HashMap<WireguardKey, SocketAddr>,
}

impl Reconciler {
    pub(super) fn new(hub: SocketHub, wanted: Vec<PeerConfig>) -> Self {
        Self {
            hub,
            wanted,
            seen: HashMap::new(),
        }
    }

    /// Sweeps until its task is ended; a hub that is away is there at the next sweep.
    #[expect(clippy::infinite_loop, reason = "its owner ends the task")]
    pub(super) async fn run(mut self) {
        let mut timer = interval(SWEEP);
        loop {
            timer.tick().await;
            drop(self.sweep().await);
        }
    }

    async fn sweep(&mut self) -> Result<(), HubError> {
        let present = self.hub.peers().await?;
        for status in &present {
            if let Some(endpoint) = status.endpoint {
                self.seen.insert(status.key, endpoint);
            }
        }
        let is_wanted = |key: &WireguardKey| self.wanted.iter().any(|peer| peer.key == *key);
        let strangers: Vec<_> = present
            .iter()
            .map(|status| status.key)
            .filter(|key| !is_wanted(key))
            .collect();
        if !strangers.is_empty() {
            self.hub.remove_peers(&strangers).await?;
        }
        let is_there = |peer: &PeerConfig| {
            present
                .iter()
                .any(|status| status.key == peer.key && status.has_only(peer.address.ip()))
        };
        let missing = self.wanted.iter().filter(|peer| !is_there(peer));
        let missing: Vec<_> = missing
            .map(|peer| peer.last_seen_at(self.seen.get(&peer.key).copied()))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            self.hub.ensure_peers(&missing).await
        }
    }
}
