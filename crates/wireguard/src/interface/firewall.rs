use std::collections::BTreeSet;
use std::fmt::Display;

use common::domain::VpnNetwork;

use super::tool::{ToolError, run};
use crate::InterfaceName;

#[cfg(test)]
mod tests;

/// The table that is ours; other tables are nobody's business here.
const TABLE: [&str; 2] = ["inet", "iot_bridge"];

/// Who may speak to whom. All else is dropped: device to device, device to hub, hub to device, and
/// whatever comes from, or goes to, the network's addresses outside the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirewallRules {
    /// The hub's interface.
    pub interface: InterfaceName,
    /// The network and the hub's address in it.
    pub network: VpnNetwork,
    /// The devices' port that may be reached from here.
    pub terminal_port: u16,
    /// The only user who may reach it.
    pub terminal_uid: u32,
    /// The hub's TCP ports that devices may reach.
    pub open_ports: BTreeSet<u16>,
}

impl FirewallRules {
    /// Writes the ruleset for `nft -f`, which loads all of it or nothing.
    ///
    /// A connection's later packets are known by their ports and direction, not only by being part of
    /// a connection: one that began while the rules were away ends when they are back. Only who opens
    /// a connection is asked for its user: packets of a socket that is already closed have none.
    pub fn render(&self) -> String {
        let [family, table] = TABLE;
        let Self {
            interface,
            network,
            terminal_port,
            terminal_uid,
            ..
        } = self;
        let (hub, devices) = (network.hub(), set(network.prefixes()));
        let (into_open_ports, out_of_open_ports) = self.open_port_rules();
        let [around, from, out, to] = self.ula_rules();
        format!(
            "table {family} {table}\n\
             delete table {family} {table}\n\
             table {family} {table} {{\n\
             \tchain input {{\n\
             \t\ttype filter hook input priority filter; policy accept;\n\
             \t\tiifname != {{ \"lo\", \"{interface}\" }} ip saddr {devices} drop\n\
             \t\tiifname != {{ \"lo\", \"{interface}\" }} ip daddr {devices} drop\n\
             {around}\
             \t\tiifname \"{interface}\" jump from_devices\n\
             \t}}\n\
             \tchain from_devices {{\n\
             \t\tip saddr != {devices} drop\n\
             \t\tip daddr != {hub} drop\n\
             {from}\
             \t\ticmp type echo-request accept\n\
             {into_open_ports}\
             \t\ttcp sport {terminal_port} ct direction reply ct state established accept\n\
             \t\ticmp type {{ destination-unreachable, time-exceeded, parameter-problem }} ct state related accept\n\
             \t\tcounter drop\n\
             \t}}\n\
             \tchain forward {{\n\
             \t\ttype filter hook forward priority filter; policy drop;\n\
             \t}}\n\
             \tchain output {{\n\
             \t\ttype filter hook output priority filter; policy accept;\n\
             \t\toifname != {{ \"lo\", \"{interface}\" }} ip daddr {devices} drop\n\
             {out}\
             \t\toifname \"{interface}\" jump to_devices\n\
             \t}}\n\
             \tchain to_devices {{\n\
             \t\tip saddr != {hub} drop\n\
             {to}\
             \t\ttcp dport {terminal_port} meta skuid {terminal_uid} accept\n\
             \t\ttcp dport {terminal_port} ct direction original ct state established accept\n\
             {out_of_open_ports}\
             \t\ticmp type echo-reply ct state established accept\n\
             \t\tcounter drop\n\
             \t}}\n\
             }}\n"
        )
    }

    /// Returns the same rules for IPv6: around the tunnel, from devices, out, and to devices. A network without IPv6
    /// addresses has none of its packets.
    fn ula_rules(&self) -> [String; 4] {
        let interface = &self.interface;
        let (Some(ula), Some(hub)) = (self.network.ula(), self.network.hub_ip6()) else {
            let only_ipv4 = "\t\tmeta nfproto ipv6 drop\n".to_owned();
            return [String::new(), only_ipv4.clone(), String::new(), only_ipv4];
        };
        let outside = format!("ifname != {{ \"lo\", \"{interface}\" }} ip6");
        [
            format!("\t\ti{outside} saddr {ula} drop\n\t\ti{outside} daddr {ula} drop\n"),
            format!(
                "\t\tip6 saddr != {ula} drop\n\t\tip6 daddr != {hub} drop\n\t\ticmpv6 type echo-request accept\n\
                 \t\ticmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} \
                 ct state related accept\n"
            ),
            format!("\t\to{outside} daddr {ula} drop\n"),
            format!("\t\tip6 saddr != {hub} drop\n\t\ticmpv6 type echo-reply ct state established accept\n"),
        ]
    }

    /// Returns the rules for packets to the open ports and from them; nft knows no empty set.
    fn open_port_rules(&self) -> (String, String) {
        if self.open_ports.is_empty() {
            return (String::new(), String::new());
        }
        let ports = set(&self.open_ports);
        (
            format!("\t\ttcp dport {ports} accept\n"),
            format!("\t\ttcp sport {ports} ct direction reply ct state established accept\n"),
        )
    }
}

/// Writes a set as nft reads it.
fn set(members: impl IntoIterator<Item = impl Display>) -> String {
    let members: Vec<_> = members.into_iter().map(|member| member.to_string()).collect();
    format!("{{ {} }}", members.join(", "))
}

/// The kernel's packet filter, as far as it is ours.
#[derive(Debug)]
pub(super) struct Firewall {
    rules: FirewallRules,
    /// What `nft` listed when the rules had just been loaded; how it words them is its own affair.
    loaded: Option<String>,
}

impl Firewall {
    pub(super) fn new(rules: FirewallRules) -> Self {
        Self { rules, loaded: None }
    }

    /// Changes what shall be loaded.
    pub(super) fn change(&mut self, rules: FirewallRules) {
        *self = Self::new(rules);
    }

    /// Whether the rules are there, and as they were loaded.
    pub(super) async fn is_loaded(&self) -> bool {
        // If they cannot be listed they are taken for lost: loading them says what is wrong.
        self.loaded.is_some() && self.loaded == list().await.ok()
    }

    /// Replaces whatever our table holds, in one step.
    pub(super) async fn load(&mut self) -> Result<(), ToolError> {
        self.loaded = None;
        run("nft", ["-f", "-"], &self.rules.render()).await?;
        self.loaded = Some(list().await?);
        Ok(())
    }
}

async fn list() -> Result<String, ToolError> {
    let [family, table] = TABLE;
    run("nft", ["--stateless", "--numeric", "list", "table", family, table], "").await
}
