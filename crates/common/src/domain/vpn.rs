use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Serialize, Serializer};

/// Prefixes that a network can have besides its first one: a fleet that has outgrown so many needs a larger one.
const MOST_FURTHER: usize = 7;

/// The address ranges of the device network and the hub's own address, which is in the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VpnNetwork {
    prefix: Ipv4Net,
    hub: Ipv4Addr,
    further: [Option<Ipv4Net>; MOST_FURTHER],
    ula: Option<Ipv6Net>,
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
    /// An address belongs to one prefix.
    #[error("the VPN prefix shares addresses with another one of the network")]
    Overlap,
    /// The IPv4 address is the last part of the IPv6 one, and nobody else's addresses begin like it.
    #[error("the IPv6 prefix must be a unique local one (fd00::/8, RFC 4193) between /48 and /96")]
    Ula,
    /// There are eight already.
    #[error("a device network has at most {} prefixes", MOST_FURTHER + 1)]
    TooMany,
}

impl VpnNetwork {
    /// Describes a network; without `hub` the first host is the hub.
    pub fn new(prefix: Ipv4Net, hub: Option<Ipv4Addr>) -> Result<Self, InvalidVpnNetwork> {
        let prefix = acceptable(prefix)?;
        let hub = hub.unwrap_or_else(|| Ipv4Addr::from(u32::from(prefix.network()) + 1));
        if !is_host(prefix, hub) {
            return Err(InvalidVpnNetwork::Hub);
        }
        Ok(Self {
            prefix,
            hub,
            further: [None; MOST_FURTHER],
            ula: None,
        })
    }

    /// Gives the hub and every device an IPv6 address beside the IPv4 one, which is its last four bytes.
    pub fn beside_ula(self, prefix: Ipv6Net) -> Result<Self, InvalidVpnNetwork> {
        let is_local = prefix.addr().octets().first() == Some(&0xfd);
        if is_local && (48..=96).contains(&prefix.prefix_len()) {
            let ula = Some(prefix.trunc());
            Ok(Self { ula, ..self })
        } else {
            Err(InvalidVpnNetwork::Ula)
        }
    }

    /// Returns the IPv6 prefix, if there is one.
    pub fn ula(&self) -> Option<Ipv6Net> {
        self.ula
    }

    /// Returns the hub's IPv6 address, if there is one.
    pub fn hub_ip6(&self) -> Option<Ipv6Addr> {
        self.ip6(self.hub)
    }

    fn ip6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let prefix = u128::from(self.ula?.network());
        Some(Ipv6Addr::from(prefix | u128::from(u32::from(address))))
    }

    /// Adds a prefix; the hub keeps its address. One that is there already changes nothing.
    pub fn and(mut self, prefix: Ipv4Net) -> Result<Self, InvalidVpnNetwork> {
        let prefix = acceptable(prefix)?;
        if self.prefixes().any(|other| other == prefix) {
            return Ok(self);
        }
        let overlaps = |other: Ipv4Net| other.contains(&prefix) || prefix.contains(&other);
        if self.prefixes().any(overlaps) {
            return Err(InvalidVpnNetwork::Overlap);
        }
        let place = self.further.iter_mut().find(|place| place.is_none());
        *place.ok_or(InvalidVpnNetwork::TooMany)? = Some(prefix);
        Ok(self)
    }

    /// Returns the first prefix.
    pub fn prefix(&self) -> Ipv4Net {
        self.prefix
    }

    /// Lists the prefixes that were added to the first one.
    pub fn further_prefixes(&self) -> impl Iterator<Item = Ipv4Net> + use<> {
        self.further.into_iter().flatten()
    }

    /// Lists every prefix, the first one first.
    pub fn prefixes(&self) -> impl Iterator<Item = Ipv4Net> + use<> {
        std::iter::once(self.prefix).chain(self.further_prefixes())
    }

    /// Returns the hub's own address.
    pub fn hub(&self) -> Ipv4Addr {
        self.hub
    }

    /// Returns how many devices fit: every host address but the hub's.
    pub fn capacity(&self) -> u32 {
        let hosts = self.prefixes().map(|prefix| (1_u32 << (32 - prefix.prefix_len())) - 2);
        hosts.sum::<u32>() - 1
    }

    /// Accepts an address that a device of this network may have.
    ///
    /// This is the only way to a [`VpnAddress`], so nothing can dial loopback, the hub, or an address
    /// outside the pool, whatever a database row says.
    pub fn device_address(&self, address: Ipv4Addr) -> Option<VpnAddress> {
        let is_ours = self.prefixes().any(|prefix| is_host(prefix, address));
        let ip6 = self.ip6(address);
        (is_ours && address != self.hub).then_some(VpnAddress { ip: address, ip6 })
    }

    /// Lists the addresses that devices may have, prefix by prefix and the lowest first.
    pub fn device_addresses(&self) -> impl Iterator<Item = VpnAddress> + use<> {
        let network = *self;
        self.prefixes()
            .flat_map(|prefix| prefix.hosts())
            .filter_map(move |address| network.device_address(address))
    }
}

/// The network as it is at this moment: a prefix can be added while everything runs.
#[derive(Debug, Clone)]
pub struct CurrentNetwork(Arc<RwLock<VpnNetwork>>);

impl CurrentNetwork {
    /// Returns the network as it is now.
    pub fn get(&self) -> VpnNetwork {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it for everybody who has a clone of this.
    pub fn set(&self, network: VpnNetwork) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = network;
    }
}

impl From<VpnNetwork> for CurrentNetwork {
    fn from(network: VpnNetwork) -> Self {
        Self(Arc::new(RwLock::new(network)))
    }
}

fn acceptable(prefix: Ipv4Net) -> Result<Ipv4Net, InvalidVpnNetwork> {
    let prefix = prefix.trunc();
    if (12..=30).contains(&prefix.prefix_len()) && is_private(prefix.network()) {
        Ok(prefix)
    } else {
        Err(InvalidVpnNetwork::Prefix)
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VpnAddress {
    ip: Ipv4Addr,
    ip6: Option<Ipv6Addr>,
}

impl Serialize for VpnAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.ip.serialize(serializer)
    }
}

impl VpnAddress {
    /// Returns the bare address.
    pub fn ip(self) -> Ipv4Addr {
        self.ip
    }

    /// Returns the IPv6 address beside it, in a network that has them.
    pub fn ip6(self) -> Option<Ipv6Addr> {
        self.ip6
    }
}

impl std::fmt::Display for VpnAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ip.fmt(formatter)
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

    #[test]
    fn a_further_prefix_gives_addresses_and_no_second_hub() {
        let network = network("10.8.0.0/24").and("10.9.0.0/24".parse().unwrap()).unwrap();

        assert_eq!(network.hub(), Ipv4Addr::new(10, 8, 0, 1));
        assert_eq!(network.capacity(), 253 + 254);
        assert_eq!(network.device_addresses().count(), 253 + 254);
        assert!(network.device_address(Ipv4Addr::new(10, 9, 0, 1)).is_some());
        assert!(network.device_address(Ipv4Addr::new(10, 9, 0, 0)).is_none());
        assert_eq!(network.and("10.9.0.0/24".parse().unwrap()), Ok(network));
    }

    #[test]
    fn prefixes_that_share_addresses_or_are_too_many_are_refused() {
        let mut network = network("10.8.0.0/24");
        for text in ["10.8.0.0/16", "10.8.0.128/25"] {
            assert_eq!(
                network.and(text.parse().unwrap()),
                Err(InvalidVpnNetwork::Overlap),
                "{text}"
            );
        }
        for third in 0..7 {
            network = network.and(format!("10.9.{third}.0/24").parse().unwrap()).unwrap();
        }
        assert_eq!(
            network.and("10.10.0.0/24".parse().unwrap()),
            Err(InvalidVpnNetwork::TooMany)
        );
    }

    #[test]
    fn an_ipv6_address_is_the_prefix_and_the_ipv4_address() {
        let network = network("10.8.0.0/24")
            .beside_ula("fd5a:1:2:3::/64".parse().unwrap())
            .unwrap();

        assert_eq!(network.hub_ip6(), Some("fd5a:1:2:3::a08:1".parse().unwrap()));
        let device = network.device_address(Ipv4Addr::new(10, 8, 0, 7)).unwrap();
        assert_eq!(device.ip6(), Some("fd5a:1:2:3::a08:7".parse().unwrap()));
        for text in ["2001:db8::/64", "fc00::/64", "fd00::/40", "fd00::/97"] {
            assert_eq!(
                network.beside_ula(text.parse().unwrap()),
                Err(InvalidVpnNetwork::Ula),
                "{text}"
            );
        }
    }
}
