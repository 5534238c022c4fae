//! What every hub checks before a change, and how it finds out what is left to change.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use common::domain::{VpnAddress, WireguardKey};
use ipnet::IpNet;

use super::{HubError, PeerConfig, PeerFault, PeerStatus};

/// What a hub has at one moment; it alone is the truth about the hub.
pub(crate) type Dump = HashMap<WireguardKey, PeerStatus>;

/// Refuses what WireGuard would silently ignore or do otherwise.
///
/// An address may change hands within a batch, if the batch gives its holder another one.
pub(crate) fn check(peers: &[PeerConfig], own: &WireguardKey, present: &Dump) -> Result<(), HubError> {
    check_batch(peers, own)?;
    let wanted: HashMap<IpNet, &PeerConfig> = peers.iter().map(|peer| (host(peer.address), peer)).collect();
    let moving: HashSet<WireguardKey> = peers.iter().map(|peer| peer.key).collect();
    for status in present.values().filter(|status| !moving.contains(&status.key)) {
        if let Some(peer) = status.allowed_addresses.iter().find_map(|address| wanted.get(address)) {
            return Err(HubError::AddressTaken {
                address: peer.address,
                holder: status.key,
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
            .is_some_and(|status| status.has_only(peer.address.ip()))
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

fn host(address: VpnAddress) -> IpNet {
    IpNet::from(IpAddr::V4(address.ip()))
}
