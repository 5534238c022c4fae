use super::*;

const HUB_KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

fn config(private_key: Option<WireguardPrivateKey>) -> WgQuickConfig {
    WgQuickConfig {
        private_key,
        address: Ipv4Addr::new(10, 8, 0, 2),
        mtu: crate::MTU,
        hub_key: WireguardKey::parse(HUB_KEY).unwrap(),
        hub_endpoint: "vpn.example.org:51820".parse().unwrap(),
        hub_address: Ipv4Addr::new(10, 8, 0, 1),
        keepalive_seconds: crate::KEEPALIVE_SECONDS,
        ip6: None,
    }
}

#[test]
fn a_file_for_a_device_that_keeps_its_key_has_a_placeholder() {
    let expected = "\
[Interface]
PrivateKey = <REPLACE_WITH_DEVICE_PRIVATE_KEY>
Address = 10.8.0.2/32
MTU = 1420

[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
Endpoint = vpn.example.org:51820
AllowedIPs = 10.8.0.1/32
PersistentKeepalive = 25
";

    assert_eq!(config(None).render(), expected);
    assert!(WgQuickConfig::parse(expected).unwrap().private_key.is_none());
}

#[test]
fn a_file_with_a_key_survives_being_read() {
    let key = WireguardPrivateKey::generate();
    let public_key = key.public_key();
    let text = config(Some(key)).render();

    let read = WgQuickConfig::parse(&text).unwrap();

    assert_eq!(read.private_key.as_ref().unwrap().public_key(), public_key);
    assert_eq!(read.render(), text);
    let secret = read.private_key.as_ref().unwrap().to_base64();
    assert!(!format!("{read:?}").contains(secret.expose_secret()));
}

#[test]
fn comments_and_blanks_are_no_matter() {
    let text = config(None)
        .render()
        .replace("MTU = 1420", "# set by the bridge\n\t MTU=1420 \r");
    assert_eq!(WgQuickConfig::parse(&text).unwrap().render(), config(None).render());
}

#[test]
fn lines_that_run_programs_or_change_routes_are_refused() {
    let text = config(None).render();
    for (line, extra) in [
        (5, "PostUp = /bin/sh -c id"),
        (5, "PreDown=reboot"),
        (5, "DNS = 10.8.0.1"),
        (5, "SaveConfig = true"),
        (5, "FwMark = 1"),
        (5, "mtu = 1280"),
        (5, "Endpoint = elsewhere:1"),
        (5, "PostUp"),
        (5, "[Interface]"),
        (5, "[Peer] # comment"),
    ] {
        let text = text.replace("\n\n", &format!("\n{extra}\n\n"));
        assert_eq!(
            WgQuickConfig::parse(&text).unwrap_err(),
            InvalidWgQuick::UnknownLine { line },
            "{extra}"
        );
    }
    for extra in ["[Peer]", "PostUp = reboot", "PresharedKey = AAAA"] {
        let text = format!("{text}{extra}\n");
        assert_eq!(
            WgQuickConfig::parse(&text).unwrap_err(),
            InvalidWgQuick::UnknownLine { line: 11 }
        );
    }
}

#[test]
fn what_is_there_twice_or_not_at_all_is_refused() {
    let text = config(None).render();
    let twice = format!("{text}AllowedIPs = 10.8.0.9/32\n");
    assert_eq!(
        WgQuickConfig::parse(&twice).unwrap_err(),
        InvalidWgQuick::Repeated { line: 11 }
    );
    for key in [
        "PrivateKey",
        "Address",
        "MTU",
        "PublicKey",
        "Endpoint",
        "AllowedIPs",
        "PersistentKeepalive",
    ] {
        let without: String = text
            .lines()
            .filter(|line| !line.starts_with(key))
            .flat_map(|line| [line, "\n"])
            .collect();
        assert_eq!(
            WgQuickConfig::parse(&without).unwrap_err(),
            InvalidWgQuick::Missing { key }
        );
    }
    assert_eq!(
        WgQuickConfig::parse(&"#".repeat(5000)).unwrap_err(),
        InvalidWgQuick::TooLong
    );
}

#[test]
fn a_value_that_would_route_or_send_elsewhere_is_refused() {
    let text = config(None).render();
    for (key, good, bad) in [
        ("AllowedIPs", "10.8.0.1/32", "0.0.0.0/0"),
        ("AllowedIPs", "10.8.0.1/32", "10.8.0.1/24"),
        ("AllowedIPs", "10.8.0.1/32", "10.8.0.1"),
        ("AllowedIPs", "10.8.0.1/32", "10.8.0.1/32, 0.0.0.0/0"),
        ("Address", "10.8.0.2/32", "127.0.0.1/32"),
        ("Address", "10.8.0.2/32", "fd00::2/128"),
        ("MTU", "1420", "9000"),
        ("PublicKey", HUB_KEY, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("PrivateKey", PRIVATE_KEY_PLACEHOLDER, "secret"),
        ("PersistentKeepalive", "25", "0"),
        ("Endpoint", "vpn.example.org:51820", "vpn.example.org"),
    ] {
        let text = text.replace(&format!("{key} = {good}"), &format!("{key} = {bad}"));
        assert_eq!(
            WgQuickConfig::parse(&text).unwrap_err(),
            InvalidWgQuick::InvalidValue { key },
            "{bad}"
        );
    }
}

#[test]
fn an_endpoint_is_a_host_and_a_port_and_nothing_else() {
    for text in [
        "vpn.example.org:51820",
        "192.0.2.1:1",
        "[2001:db8::1]:65535",
        "hub:51820",
    ] {
        assert_eq!(text.parse::<HubEndpoint>().unwrap().to_string(), text);
    }
    for text in [
        "",
        ":51820",
        "hub:0",
        "hub:65536",
        "hub:+1",
        "hub:",
        "2001:db8::1:51820",
        "[hub]:1",
        "-hub:1",
        "hub..example:1",
        "hub\nPostUp = id:1",
        "hub:1\nPostUp = id",
        " hub:1",
    ] {
        assert_eq!(text.parse::<HubEndpoint>(), Err(InvalidHubEndpoint), "{text:?}");
    }
}

#[test]
fn ipv6_addresses_stand_beside_the_others_on_both_sides_or_on_none() {
    let pair = Ip6Pair {
        device: "fd5a::a08:2".parse().unwrap(),
        hub: "fd5a::a08:1".parse().unwrap(),
    };
    let text = WgQuickConfig {
        ip6: Some(pair),
        ..config(None)
    }
    .render();

    assert!(text.contains("Address = 10.8.0.2/32, fd5a::a08:2/128\n"), "{text}");
    assert!(text.contains("AllowedIPs = 10.8.0.1/32, fd5a::a08:1/128\n"), "{text}");
    assert_eq!(WgQuickConfig::parse(&text).unwrap().ip6, Some(pair));
    for wrong in [
        text.replace(", fd5a::a08:1/128", ""),
        text.replace("fd5a::a08:1/128", "fd5a::/64"),
        text.replace("fd5a::a08:1/128", "::/0"),
        text.replace("fd5a::a08:1/128", "2001:db8::1/128"),
    ] {
        assert!(WgQuickConfig::parse(&wrong).is_err(), "{wrong}");
    }
}
