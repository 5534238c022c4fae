use super::*;

#[test]
fn the_rules_are_written_as_nft_reads_them() {
    let expected = r#"table inet iot_bridge
delete table inet iot_bridge
table inet iot_bridge {
	chain input {
		type filter hook input priority filter; policy accept;
		iifname != { "lo", "wg0" } ip saddr { 10.8.0.0/24 } drop
		iifname != { "lo", "wg0" } ip daddr { 10.8.0.0/24 } drop
		iifname "wg0" jump from_devices
	}
	chain from_devices {
		ip saddr != { 10.8.0.0/24 } drop
		ip daddr != 10.8.0.1 drop
		meta nfproto ipv6 drop
		icmp type echo-request accept
		tcp dport { 1883, 8086 } accept
		tcp sport 7681 ct direction reply ct state established accept
		icmp type { destination-unreachable, time-exceeded, parameter-problem } ct state related accept
		counter drop
	}
	chain forward {
		type filter hook forward priority filter; policy drop;
	}
	chain output {
		type filter hook output priority filter; policy accept;
		oifname != { "lo", "wg0" } ip daddr { 10.8.0.0/24 } drop
		oifname "wg0" jump to_devices
	}
	chain to_devices {
		ip saddr != 10.8.0.1 drop
		meta nfproto ipv6 drop
		tcp dport 7681 meta skuid 999 accept
		tcp dport 7681 ct direction original ct state established accept
		tcp sport { 1883, 8086 } ct direction reply ct state established accept
		icmp type echo-reply ct state established accept
		counter drop
	}
}
"#;
    assert_eq!(rules(&[8086, 1883]).render(), expected);
}

#[test]
fn without_open_ports_there_is_no_rule_about_them() {
    let text = rules(&[]).render();
    assert!(!text.contains("tcp dport {") && !text.contains("tcp sport {"), "{text}");
}

#[test]
fn every_prefix_is_guarded() {
    let mut rules = rules(&[]);
    rules.network = rules.network.and("10.9.0.0/16".parse().unwrap()).unwrap();

    let text = rules.render();

    assert!(text.contains("ip saddr != { 10.8.0.0/24, 10.9.0.0/16 } drop"), "{text}");
}

#[test]
fn ipv6_addresses_are_guarded_like_the_others() {
    let mut rules = rules(&[]);
    rules.network = rules.network.beside_ula("fd5a::/64".parse().unwrap()).unwrap();

    let text = rules.render();

    for rule in [
        "iifname != { \"lo\", \"wg0\" } ip6 daddr fd5a::/64 drop",
        "oifname != { \"lo\", \"wg0\" } ip6 daddr fd5a::/64 drop",
        "ip6 saddr != fd5a::/64 drop",
        "ip6 daddr != fd5a::a08:1 drop",
        "ip6 saddr != fd5a::a08:1 drop",
    ] {
        assert!(text.contains(rule), "{rule}: {text}");
    }
    assert!(!text.contains("nfproto"), "{text}");
}

fn rules(open_ports: &[u16]) -> FirewallRules {
    FirewallRules {
        interface: "wg0".parse().unwrap(),
        network: VpnNetwork::new("10.8.0.0/24".parse().unwrap(), None).unwrap(),
        terminal_port: 7681,
        terminal_uid: 999,
        open_ports: open_ports.iter().copied().collect(),
    }
}
