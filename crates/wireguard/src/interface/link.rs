use std::net::IpAddr;

use common::domain::VpnNetwork;
use ipnet::Ipv4Net;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::tool::{ToolError, run};
use crate::InterfaceName;
use crate::MTU;

/// A network interface as `ip -json -details address show` tells it; one is as good as another if it
/// answers to our name.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    ifname: String,
    #[serde(default)]
    flags: Vec<String>,
    mtu: u32,
    #[serde(default)]
    linkinfo: LinkInfo,
    #[serde(default)]
    addr_info: Vec<Address>,
    /// Where packets go that leave by it.
    #[serde(skip)]
    routes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Route {
    dst: String,
}

#[derive(Debug, Default, Deserialize)]
struct LinkInfo {
    #[serde(default)]
    info_kind: String,
}

#[derive(Debug, Deserialize)]
struct Address {
    local: IpAddr,
    prefixlen: u8,
}

impl Link {
    /// Looks for an interface in this network namespace.
    pub(super) async fn find(name: &InterfaceName) -> Result<Option<Self>, ToolError> {
        let text = run("ip", ["-json", "-details", "address", "show"], "").await?;
        let links: Vec<Self> = read(&text)?;
        let Some(link) = links.into_iter().find(|link| link.ifname == name.as_str()) else {
            return Ok(None);
        };
        let text = run("ip", ["-json", "-4", "route", "show", "dev", name.as_str()], "").await?;
        let routes: Vec<Route> = read(&text)?;
        let routes = routes.into_iter().map(|route| route.dst).collect();
        Ok(Some(Self { routes, ..link }))
    }

    /// Whether a prefix shares addresses with one that this machine has on another interface.
    pub(super) async fn is_elsewhere(name: &InterfaceName, prefix: Ipv4Net) -> Result<bool, ToolError> {
        let links: Vec<Self> = read(&run("ip", ["-json", "address", "show"], "").await?)?;
        let others = links.iter().filter(|link| link.ifname != name.as_str());
        let mut networks = others.flat_map(|link| &link.addr_info).filter_map(Address::network);
        Ok(networks.any(|other| other.contains(&prefix) || prefix.contains(&other)))
    }

    /// Makes an interface of the kernel's WireGuard; it is down.
    pub(super) async fn add(name: &InterfaceName) -> Result<(), ToolError> {
        run("ip", ["link", "add", "dev", name.as_str(), "type", "wireguard"], "")
            .await
            .map(drop)
    }

    /// Ends an interface; a daemon whose interface it was ends as well.
    pub(super) async fn delete(name: &InterfaceName) -> Result<(), ToolError> {
        run("ip", ["link", "delete", "dev", name.as_str()], "").await.map(drop)
    }

    /// Stops all traffic.
    pub(super) async fn take_down(name: &InterfaceName) -> Result<(), ToolError> {
        run("ip", ["link", "set", "dev", name.as_str(), "down"], "")
            .await
            .map(drop)
    }

    /// Whether it is the kernel's WireGuard.
    pub(super) fn is_wireguard(&self) -> bool {
        self.linkinfo.info_kind == "wireguard"
    }

    /// Whether it carries traffic for the hub's address and no other.
    pub(super) fn is_ready(&self, network: VpnNetwork) -> bool {
        self.flags.iter().any(|flag| flag == "UP")
            && self.mtu == u32::from(MTU)
            && self.has_hub_address(network)
            && self.has_hub_ip6(network)
            && self.foreign_addresses(network).next().is_none()
            && network.further_prefixes().all(|prefix| self.has_route(prefix))
    }

    /// Gives it the hub's address only, and brings it up.
    pub(super) async fn make_ready(&self, network: VpnNetwork) -> Result<(), ToolError> {
        let name = self.ifname.as_str();
        for Address { local, prefixlen } in self.foreign_addresses(network) {
            run(
                "ip",
                ["address", "delete", &format!("{local}/{prefixlen}"), "dev", name],
                "",
            )
            .await?;
        }
        if !self.has_hub_address(network) {
            let address = format!("{}/{}", network.hub(), network.prefix().prefix_len());
            run("ip", ["address", "add", &address, "dev", name], "").await?;
        }
        if let (Some(address), Some(ula)) = (network.hub_ip6(), network.ula())
            && !self.has_hub_ip6(network)
        {
            let address = format!("{address}/{}", ula.prefix_len());
            run("ip", ["address", "add", &address, "dev", name, "nodad"], "").await?;
        }
        run("ip", ["link", "set", "dev", name, "mtu", &MTU.to_string(), "up"], "").await?;
        let source = network.hub().to_string();
        for prefix in network.further_prefixes().filter(|prefix| !self.has_route(*prefix)) {
            let route = ["route", "replace", &prefix.to_string(), "dev", name, "src", &source];
            run("ip", route, "").await?;
        }
        Ok(())
    }

    fn has_route(&self, prefix: Ipv4Net) -> bool {
        let prefix = prefix.to_string();
        self.routes.contains(&prefix)
    }

    fn has_hub_address(&self, network: VpnNetwork) -> bool {
        self.addr_info.iter().any(|address| address.is_hub(network))
    }

    fn has_hub_ip6(&self, network: VpnNetwork) -> bool {
        network.hub_ip6().is_none_or(|address| {
            let mut addresses = self.addr_info.iter();
            addresses.any(|present| present.local == IpAddr::V6(address))
        })
    }

    /// Returns addresses that would swallow what is meant for a device. The firewall drops all IPv6.
    fn foreign_addresses(&self, network: VpnNetwork) -> impl Iterator<Item = &Address> {
        self.addr_info
            .iter()
            .filter(move |address| address.local.is_ipv4() && !address.is_hub(network))
    }
}

impl Address {
    fn network(&self) -> Option<Ipv4Net> {
        match self.local {
            IpAddr::V4(address) => Ipv4Net::new(address, self.prefixlen).ok().map(|net| net.trunc()),
            IpAddr::V6(_) => None,
        }
    }

    fn is_hub(&self, network: VpnNetwork) -> bool {
        self.local == IpAddr::V4(network.hub()) && self.prefixlen == network.prefix().prefix_len()
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, ToolError> {
    // `ip` writes nothing at all where it has nothing to list.
    let text = if text.trim().is_empty() { "[]" } else { text };
    serde_json::from_str(text).map_err(|error| ToolError::Run {
        program: "ip",
        source: error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As iproute2 6.1 tells it, shortened.
    const READY: &str = r#"{"ifindex":3,"ifname":"wg0","flags":["POINTOPOINT","NOARP","UP","LOWER_UP"],"mtu":1420,
        "operstate":"UNKNOWN","linkinfo":{"info_kind":"wireguard"},
        "addr_info":[{"family":"inet","local":"10.8.0.1","prefixlen":24,"scope":"global"},
                     {"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]}"#;

    #[test]
    fn an_interface_is_ready_if_all_of_it_is() {
        assert!(link(READY).is_wireguard());
        assert!(link(READY).is_ready(network()));
        for (as_it_is, otherwise) in [
            (r#""UP","#, ""),
            ("1420", "1500"),
            ("10.8.0.1", "10.8.0.2"),
            (r#""prefixlen":24"#, r#""prefixlen":32"#),
            (
                r#"{"family":"inet6","local":"fe80::1""#,
                r#"{"family":"inet","local":"10.8.0.9""#,
            ),
        ] {
            assert!(READY.contains(as_it_is), "{as_it_is}");
            assert!(
                !link(&READY.replace(as_it_is, otherwise)).is_ready(network()),
                "{otherwise}"
            );
        }
    }

    #[test]
    fn a_further_prefix_needs_its_route() {
        let network = network().and("10.9.0.0/24".parse().unwrap()).unwrap();

        assert!(!link(READY).is_ready(network));
        let routes = vec!["10.8.0.0/24".to_owned(), "10.9.0.0/24".to_owned()];
        assert!(Link { routes, ..link(READY) }.is_ready(network));
    }

    #[test]
    fn an_interface_of_a_daemon_is_not_the_kernels() {
        assert!(!link(&READY.replace("wireguard", "tun")).is_wireguard());
        assert!(!link(r#"{"ifname":"wg0","mtu":1420}"#).is_wireguard());
    }

    fn link(text: &str) -> Link {
        serde_json::from_str(text).unwrap()
    }

    fn network() -> VpnNetwork {
        VpnNetwork::new("10.8.0.0/24".parse().unwrap(), None).unwrap()
    }
}
