use std::collections::HashMap;
use std::net::Ipv4Addr;

use common::domain::WireguardKey;
use ipnet::IpNet;

use super::PeerStatus;

/// What a hub has at one moment, by key and by address: finding one peer costs the same among ten and 60,000.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    peers: HashMap<WireguardKey, PeerStatus>,
    /// More than one only on a hub that somebody has tampered with.
    holders: HashMap<IpNet, Vec<WireguardKey>>,
}

impl Dump {
    pub(crate) fn get(&self, key: &WireguardKey) -> Option<&PeerStatus> {
        self.peers.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &PeerStatus> {
        self.peers.values()
    }

    /// Returns the peers that have this address.
    pub(crate) fn holders(&self, address: Ipv4Addr) -> &[WireguardKey] {
        let host = IpNet::from(std::net::IpAddr::V4(address));
        self.holders.get(&host).map_or(&[], Vec::as_slice)
    }

    /// Takes a peer in, in place of what was known of it.
    pub(crate) fn insert(&mut self, status: PeerStatus) {
        self.remove(&status.key);
        for address in &status.allowed_addresses {
            self.holders.entry(*address).or_default().push(status.key);
        }
        self.peers.insert(status.key, status);
    }

    pub(crate) fn remove(&mut self, key: &WireguardKey) -> Option<PeerStatus> {
        let status = self.peers.remove(key)?;
        for address in &status.allowed_addresses {
            if let Some(holders) = self.holders.get_mut(address) {
                holders.retain(|holder| holder != key);
                if holders.is_empty() {
                    self.holders.remove(address);
                }
            }
        }
        Some(status)
    }

    pub(crate) fn clear(&mut self) {
        self.peers.clear();
        self.holders.clear();
    }
}
