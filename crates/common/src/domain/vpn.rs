use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

/// The address range of the device network and the hub's own address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VpnNetwork {
    prefix: Ipv4Net,
    hub: Ipv4Addr,
}

/// The settings do not describe a device network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVpnNetwork {
    /// Smaller than /30 has no room for a device; larger than /12 is more than one hub carries.
    #[error("the VPN prefix must be between /12 and /30 and private (RFC 1918 or RFC 6598)")]
    Prefix,
    /// The hub must have a host address of the prefix.
    #[error("the hub's VPN address must be a host address of the VPN prefix")]
    Hub,
}

impl VpnNetwork {
    /// Describes a network; without `hub` the first host is the hub.
    pub fn new(prefix: Ipv4Net, hub: Option<Ipv4Addr>) -> Result<Self, InvalidVpnNetwork> {
        let prefix = prefix.trunc();
        if !(12..=30).contains(&prefix.prefix_len()) || !is_private(prefix.network()) {
            return Err(InvalidVpnNetwork::Prefix);
        }
        let hub = hub.unwrap_or_else(|| Ipv4Addr::from(u32::from(prefix.network()) + 1));
        if !is_host(prefix, hub) {
            return Err(InvalidVpnNetwork::Hub);
        }
        Ok(Self { prefix, hub })
    }

    /// Returns the prefix.
    pub fn prefix(&self) -> Ipv4Net {
        self.prefix
    }

    /// Returns the hub's own address.
    pub fn hub(&self) -> Ipv4Addr {
        self.hub
    }

    /// Returns how many devices fit: every host address but the hub's.
    pub fn capacity(&self) -> u32 {
        (1_u32 << (32 - self.prefix.prefix_len())) - 3
    }

    /// Accepts an address that a device of this network may have.
    ///
    /// This is the only way to a [`VpnAddress`], so nothing can dial loopback, the hub, or an address
    /// outside the pool, whatever a database row says.
    pub fn device_address(&self, address: Ipv4Addr) -> Option<VpnAddress> {
        (is_host(self.prefix, address) && address != self.hub).then_some(VpnAddress(address))
    }

    /// Lists the addresses that devices may have, lowest first.
    pub fn device_addresses(&self) -> impl Iterator<Item = VpnAddress> + use<> {
        let network = *self;
        self.prefix
            .hosts()
            .filter_map(move |address| network.device_address(address))
    }
}

fn is_host(prefix: Ipv4Net, address: Ipv4Addr) -> bool {
    prefix.contains(&address) && address != prefix.network() && address != prefix.broadcast()
}

fn is_private(address: Ipv4Addr) -> bool {
    let shared = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10); // RFC 6598
    address.is_private() || shared.contains(&address)
}

/// A device's address in the VPN: proof that it is a host of the pool and not the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct VpnAddress(Ipv4Addr);

impl VpnAddress {
    /// Returns the bare address.
    pub fn ip(self) -> Ipv4Addr {
        self.0
    }
}

impl std::fmt::Display for VpnAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(prefix: &str) -> VpnNetwork {
        VpnNetwork::new(prefix.parse().unwrap(), None).unwrap()
    }

    #[test]
    fn the_first_host_is_the_hub_and_never_a_device() {
        let network = network("10.8.0.0/24");

        assert_eq!(network.hub(), Ipv4Addr::new(10, 8, 0, 1));
        assert_eq!(
            network.device_addresses().next().unwrap().ip(),
            Ipv4Addr::new(10, 8, 0, 2)
        );
        assert_eq!(network.device_addresses().count(), 253);
        assert_eq!(network.capacity(), 253);
    }

    #[test]
    fn an_address_that_no_device_can_have_is_not_a_vpn_address() {
        let network = network("10.8.0.0/24");
        for text in [
            "10.8.0.0",
            "10.8.0.1",
            "10.8.0.255",
            "10.8.1.2",
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
        ] {
            assert_eq!(network.device_address(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn public_or_tiny_prefixes_are_refused() {
        for text in ["8.8.0.0/16", "10.0.0.0/8", "10.8.0.0/31", "127.0.0.0/24"] {
            assert_eq!(
                VpnNetwork::new(text.parse().unwrap(), None),
                Err(InvalidVpnNetwork::Prefix),
                "{text}"
            );
        }
    }
}
