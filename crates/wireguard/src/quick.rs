//! The configuration file that a device gets, in the form of `wg-quick(8)`.
//!
//! It comes over a network and goes into a program that runs as root and executes `PostUp` lines, so
//! reading is strict: exactly the lines that [`WgQuickConfig::render`] writes, in any order within
//! their section, and nothing else.

use std::net::{Ipv4Addr, Ipv6Addr};

use common::domain::{WireguardKey, WireguardPrivateKey};
use ipnet::{Ipv4Net, Ipv6Net};
use secrecy::ExposeSecret as _;

mod endpoint;

#[cfg(test)]
mod tests;

pub use endpoint::{HubEndpoint, InvalidHubEndpoint};

/// What stands in place of the private key that only the device knows.
pub const PRIVATE_KEY_PLACEHOLDER: &str = "<REPLACE_WITH_DEVICE_PRIVATE_KEY>";

/// More than a file of ours ever has, in bytes.
const LONGEST_FILE: usize = 4096;

/// A device's tunnel configuration.
#[derive(Debug)]
pub struct WgQuickConfig {
    /// The device's key; without it the file has [`PRIVATE_KEY_PLACEHOLDER`].
    pub private_key: Option<WireguardPrivateKey>,
    /// The device's address.
    pub address: Ipv4Addr,
    /// Largest packet in the tunnel, in bytes; see [`MTU`](crate::MTU).
    pub mtu: u16,
    /// Who the hub is.
    pub hub_key: WireguardKey,
    /// Where the hub is.
    pub hub_endpoint: HubEndpoint,
    /// The only address that is routed into the tunnel.
    pub hub_address: Ipv4Addr,
    /// See [`KEEPALIVE_SECONDS`](crate::KEEPALIVE_SECONDS).
    pub keepalive_seconds: u16,
    /// The IPv6 addresses beside, in a network that has them.
    pub ip6: Option<Ip6Pair>,
}

/// A device's IPv6 address and its hub's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ip6Pair {
    /// The device's.
    pub device: Ipv6Addr,
    /// The hub's.
    pub hub: Ipv6Addr,
}

impl WgQuickConfig {
    /// Writes the file; with a private key in it, it is a secret.
    pub fn render(&self) -> String {
        let private_key = self.private_key.as_ref().map(WireguardPrivateKey::to_base64);
        let private_key = private_key
            .as_ref()
            .map_or(PRIVATE_KEY_PLACEHOLDER, |key| key.expose_secret());
        let beside = |address: Option<Ipv6Addr>| address.map_or_else(String::new, |address| format!(", {address}/128"));
        let (device, hub) = (self.ip6.map(|pair| pair.device), self.ip6.map(|pair| pair.hub));
        let (device, hub) = (beside(device), beside(hub));
        format!(
            "[Interface]\n\
             PrivateKey = {private_key}\n\
             Address = {}/32{device}\n\
             MTU = {}\n\
             \n\
             [Peer]\n\
             PublicKey = {}\n\
             Endpoint = {}\n\
             AllowedIPs = {}/32{hub}\n\
             PersistentKeepalive = {}\n",
            self.address, self.mtu, self.hub_key, self.hub_endpoint, self.hub_address, self.keepalive_seconds,
        )
    }

    /// Reads a file; see the module for how strict it is.
    pub fn parse(text: &str) -> Result<Self, InvalidWgQuick> {
        let file = File::read(text)?;
        let (address, device) = file.value("Address", addresses)?;
        let (hub_address, hub) = file.value("AllowedIPs", addresses)?;
        let ip6 = match (device, hub) {
            (Some(device), Some(hub)) => Some(Ip6Pair { device, hub }),
            (None, None) => None,
            _ => return Err(InvalidWgQuick::InvalidValue { key: "AllowedIPs" }),
        };
        Ok(Self {
            private_key: file.value("PrivateKey", |text| match text {
                PRIVATE_KEY_PLACEHOLDER => Some(None),
                text => WireguardPrivateKey::parse(text).ok().map(Some),
            })?,
            address,
            mtu: file.value("MTU", |text| text.parse().ok().filter(|mtu| (576..=1500).contains(mtu)))?,
            hub_key: file.value("PublicKey", |text| WireguardKey::parse(text).ok())?,
            hub_endpoint: file.value("Endpoint", |text| text.parse().ok())?,
            hub_address,
            keepalive_seconds: file.value("PersistentKeepalive", |text| {
                text.parse().ok().filter(|seconds| *seconds > 0)
            })?,
            ip6,
        })
    }
}

/// The file is not one of ours. No variant has text of the file, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWgQuick {
    /// It is far too long.
    #[error("a tunnel configuration has at most {LONGEST_FILE} bytes")]
    TooLong,
    /// A section, key or other text that has no place here, for instance `PostUp`.
    #[error("line {line} has no place in a tunnel configuration")]
    UnknownLine {
        /// Counted from 1.
        line: usize,
    },
    /// A section or key is there twice.
    #[error("line {line} repeats an earlier one")]
    Repeated {
        /// Counted from 1.
        line: usize,
    },
    /// A key is not there.
    #[error("`{key}` is missing")]
    Missing {
        /// As it is written in the file.
        key: &'static str,
    },
    /// A key's value cannot be.
    #[error("the value of `{key}` is not allowed")]
    InvalidValue {
        /// As it is written in the file.
        key: &'static str,
    },
}

/// Reads an IPv4 host, and a unique local IPv6 host (RFC 4193) after a comma.
fn addresses(text: &str) -> Option<(Ipv4Addr, Option<Ipv6Addr>)> {
    let Some((first, second)) = text.split_once(',') else {
        return Some((host_address(text)?, None));
    };
    let network: Ipv6Net = trim(second).parse().ok()?;
    let is_local = network.prefix_len() == 128 && network.addr().octets()[0] == 0xfd;
    is_local.then_some((host_address(trim(first))?, Some(network.addr())))
}

/// Reads `a.b.c.d/32` in its canonical form.
fn host_address(text: &str) -> Option<Ipv4Addr> {
    let network: Ipv4Net = text.parse().ok()?;
    let address = network.addr();
    let is_host = network.prefix_len() == 32 && !address.is_unspecified() && !address.is_loopback();
    (is_host && !address.is_multicast() && !address.is_broadcast()).then_some(address)
}

/// The sections of the file and the keys in them.
const SECTIONS: [(&str, &[&str]); 2] = [
    ("[Interface]", &["PrivateKey", "Address", "MTU"]),
    (
        "[Peer]",
        &["PublicKey", "Endpoint", "AllowedIPs", "PersistentKeepalive"],
    ),
];

/// The keys and values of a file, each known and there once.
struct File<'a>(Vec<(&'static str, &'a str)>);

impl<'a> File<'a> {
    fn read(text: &'a str) -> Result<Self, InvalidWgQuick> {
        if text.len() > LONGEST_FILE {
            return Err(InvalidWgQuick::TooLong);
        }
        let mut sections = SECTIONS.into_iter();
        let mut keys: &[&str] = &[];
        let mut file = Self(Vec::new());
        for (line, text) in (1..).zip(text.lines()) {
            let unknown = InvalidWgQuick::UnknownLine { line };
            let text = trim(text);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if text.starts_with('[') {
                let next = sections.next().filter(|(section, _)| *section == text);
                (_, keys) = next.ok_or(unknown)?;
                continue;
            }
            let (name, value) = text.split_once('=').ok_or(unknown)?;
            let key = keys.iter().find(|key| **key == trim(name)).ok_or(unknown)?;
            if file.0.iter().any(|(earlier, _)| earlier == key) {
                return Err(InvalidWgQuick::Repeated { line });
            }
            file.0.push((key, trim(value)));
        }
        Ok(file)
    }

    fn value<T>(&self, key: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, InvalidWgQuick> {
        let found = self.0.iter().find(|(found, _)| *found == key);
        let (_, text) = found.ok_or(InvalidWgQuick::Missing { key })?;
        read(text).ok_or(InvalidWgQuick::InvalidValue { key })
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
