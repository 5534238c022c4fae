use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use common::domain::WireguardKey;
use tokio::time::Instant;
use tracing::warn;

use super::device::{Change, Incarnation, RawPeer, merged};
use crate::hub::dump::Dump;
use crate::hub::rules::differing;
use crate::hub::{PeerConfig, PeerStatus, hosts};

/// What is known of an interface's peers.
#[derive(Debug, Default)]
pub(crate) struct Table {
    read: Option<(Incarnation, Instant)>,
    peers: Dump,
    /// Peers whose key no device of ours can have; they hold addresses all the same.
    impostors: Vec<[u8; 32]>,
    /// Changes that were answered for before they were read back.
    believed: Vec<PeerConfig>,
}

impl Table {
    pub(crate) fn peers(&self) -> &Dump {
        &self.peers
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether it is about this interface and young enough.
    pub(crate) fn is_of(&self, incarnation: Incarnation, now: Instant, fresh: Duration) -> bool {
        self.read
            .is_some_and(|(read, at)| read == incarnation && now.saturating_duration_since(at) < fresh)
    }

    /// Forgets everything but what is still to be read back.
    pub(crate) fn forget(&mut self) {
        self.read = None;
        self.peers.clear();
        self.impostors.clear();
    }

    /// Takes in a reading.
    pub(crate) fn replace(&mut self, incarnation: Incarnation, now: Instant, peers: Vec<RawPeer>) {
        self.forget();
        for peer in merged(peers.into_iter()) {
            match WireguardKey::from_bytes(peer.key) {
                Ok(key) => self.peers.insert(status(key, peer)),
                Err(_) => self.impostors.push(peer.key),
            }
        }
        self.read = Some((incarnation, now));
        let lost = differing(&std::mem::take(&mut self.believed), &self.peers).len();
        if lost > 0 {
            warn!(
                peers = lost,
                "{lost} peers that were added to the interface are not on it"
            );
        }
    }

    /// Says what to do so that these peers, which differ, do not any more.
    pub(crate) fn changes_for(&self, differing: &[PeerConfig]) -> Vec<Change> {
        let removals = self.impostors.iter().map(|key| Change::Remove { key: *key });
        let puts = differing.iter().flat_map(|peer| {
            let PeerConfig { key, address, endpoint } = *peer;
            let endpoint = endpoint.filter(|_| self.peers.get(&key).is_none());
            std::iter::once(Change::Put { key, address }).chain(call(key, endpoint))
        });
        removals.chain(puts).collect()
    }

    /// Says what to do so that every peer is called where it was last seen.
    pub(crate) fn calls(&self) -> Vec<Change> {
        self.peers
            .values()
            .flat_map(|peer| call(peer.key, peer.endpoint))
            .collect()
    }

    /// Takes changes as done until the next reading.
    pub(crate) fn believe(&mut self, peers: &[PeerConfig]) {
        for peer in peers {
            let new = RawPeer {
                key: *peer.key.as_bytes(),
                allowed_addresses: Vec::new(),
                last_handshake: None,
                endpoint: peer.endpoint,
                received_bytes: 0,
                sent_bytes: 0,
            };
            let known = self.peers.remove(&peer.key);
            let mut known = known.unwrap_or_else(|| status(peer.key, new));
            known.allowed_addresses = hosts(peer.address).collect();
            self.peers.insert(known);
        }
        self.believed.extend_from_slice(peers);
    }

    /// Takes removals as done until the next reading.
    pub(crate) fn forget_peers(&mut self, keys: &[WireguardKey]) {
        let gone: HashSet<_> = keys.iter().collect();
        for key in keys {
            drop(self.peers.remove(key));
        }
        self.believed.retain(|peer| !gone.contains(&peer.key));
    }
}

/// Calls a peer once, if it is known where.
fn call(key: WireguardKey, endpoint: Option<SocketAddr>) -> impl Iterator<Item = Change> {
    let calls = endpoint.map(|endpoint| [Change::Call { key, endpoint }, Change::LeaveAlone { key }]);
    calls.into_iter().flatten()
}

fn status(key: WireguardKey, peer: RawPeer) -> PeerStatus {
    PeerStatus {
        key,
        allowed_addresses: peer.allowed_addresses,
        last_handshake: peer.last_handshake,
        endpoint: peer.endpoint,
        received_bytes: peer.received_bytes,
        sent_bytes: peer.sent_bytes,
    }
}
