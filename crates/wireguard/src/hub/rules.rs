//! What every hub checks before a change, and how it finds out what is left to change.

use std::collections::HashSet;

use common::domain::WireguardKey;

use super::dump::Dump;
use super::{HubError, PeerConfig, PeerFault};

/// Refuses what WireGuard would silently ignore or do otherwise.
///
/// An address may change hands within a batch, if the batch gives its holder another one.
pub(crate) fn check(peers: &[PeerConfig], own: &WireguardKey, present: &Dump) -> Result<(), HubError> {
    check_batch(peers, own)?;
    let moving: HashSet<WireguardKey> = peers.iter().map(|peer| peer.key).collect();
    for peer in peers {
        let mut holders = present.holders(peer.address.ip()).iter();
        if let Some(holder) = holders.find(|holder| !moving.contains(holder)) {
            return Err(HubError::AddressTaken {
                address: peer.address,
                holder: *holder,
            });
        }
    }
    Ok(())
}

fn check_batch(peers: &[PeerConfig], own: &WireguardKey) -> Result<(), HubError> {
    let (mut keys, mut addresses) = (HashSet::new(), HashSet::new());
    for peer in peers {
        let fault = if peer.key == *own {
            PeerFault::OwnKey
        } else if !keys.insert(peer.key) {
            PeerFault::RepeatedKey
        } else if !addresses.insert(peer.address) {
            PeerFault::RepeatedAddress
        } else {
            continue;
        };
        return Err(HubError::InvalidPeer { key: peer.key, fault });
    }
    Ok(())
}

/// Picks the peers that are missing, or have another address.
pub(crate) fn differing(peers: &[PeerConfig], present: &Dump) -> Vec<PeerConfig> {
    let is_present = |peer: &PeerConfig| {
        present
            .get(&peer.key)
            .is_some_and(|status| status.has_only(peer.address))
    };
    peers.iter().filter(|peer| !is_present(peer)).copied().collect()
}

/// Complains about peers that differ although they should not any more.
pub(crate) fn not_applied(differing: &[PeerConfig]) -> Result<(), HubError> {
    if differing.is_empty() {
        return Ok(());
    }
    Err(HubError::NotApplied {
        keys: differing.iter().map(|peer| peer.key).collect(),
    })
}
