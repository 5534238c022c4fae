use std::net::Ipv4Addr;

use common::domain::{VpnAddress, VpnNetwork, WireguardKey};
use tempfile::TempDir;
use tokio::process::Command;
use wireguard::interface::{FirewallRules, Interface, InterfaceOptions};
use wireguard::{Backend, ControlHub, PeerConfig, private_key};

pub(crate) const INTERFACE: &str = "iotb-bench0";
pub(crate) const TERMINAL_PORT: u16 = 7681;

/// The hub's interface with its rules, over `wireguard-go`.
pub(crate) struct Stage {
    interface: Interface,
    _folder: TempDir,
}

impl Stage {
    pub(crate) async fn build() -> Self {
        run("ip", &["link", "set", "lo", "up"]).await;
        let folder = tempfile::tempdir().unwrap();
        let options = InterfaceOptions {
            backend: Backend::Userspace,
            daemon: "wireguard-go".into(),
            listen_port: 51820,
            rules: FirewallRules {
                interface: INTERFACE.parse().unwrap(),
                network: network(),
                terminal_port: TERMINAL_PORT,
                terminal_uid: 0,
                open_ports: [8086].into(),
            },
        };
        let key = private_key(&folder.path().join("hub.key")).unwrap();
        let mut interface = Interface::new(options, key);
        interface.ensure().await.unwrap();
        Self {
            interface,
            _folder: folder,
        }
    }

    pub(crate) fn hub(&self) -> std::sync::Arc<ControlHub> {
        self.interface.hub()
    }
}

pub(crate) fn network() -> VpnNetwork {
    VpnNetwork::new("10.8.0.0/15".parse().unwrap(), None).unwrap()
}

/// Peers with the addresses from the `first`-th on.
pub(crate) fn peers(first: u32, count: u32) -> Vec<PeerConfig> {
    (first..first + count)
        .map(|number| PeerConfig::new(key(number), address(number)))
        .collect()
}

fn address(number: u32) -> VpnAddress {
    let address = Ipv4Addr::from(u32::from(network().hub()) + 1 + number);
    network().device_address(address).unwrap()
}

/// A public key that nobody has the private one of; making real ones would take longer than the rest.
fn key(number: u32) -> WireguardKey {
    let mut bytes = [0x17; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    WireguardKey::from_bytes(bytes).unwrap()
}

/// How much memory a process has, in MB.
pub(crate) fn memory(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1000
}

pub(crate) async fn daemon() -> String {
    run("pgrep", &["-x", "-f", &format!("wireguard-go {INTERFACE}")])
        .await
        .trim()
        .to_owned()
}

pub(crate) async fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().await.unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Speaks to the daemon without us in between.
pub(crate) mod raw {
    use std::fmt::Write as _;
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use wireguard::PeerConfig;

    use super::INTERFACE;

    /// Adds peers in one call, and returns how long it took.
    pub(crate) fn add(peers: &[PeerConfig]) -> Duration {
        let mut text = "set=1\n".to_owned();
        for peer in peers {
            let address = peer.address;
            write!(
                text,
                "public_key={}\nreplace_allowed_ips=true\nallowed_ip={address}/32\n",
                hex(peer)
            )
            .unwrap();
        }
        ask(&(text + "\n"))
    }

    pub(crate) fn remove(peers: &[PeerConfig]) -> Duration {
        let mut text = "set=1\n".to_owned();
        for peer in peers {
            write!(text, "public_key={}\nremove=true\n", hex(peer)).unwrap();
        }
        ask(&(text + "\n"))
    }

    /// Reads everything.
    pub(crate) fn read() -> Duration {
        ask("get=1\n\n")
    }

    fn ask(question: &str) -> Duration {
        let began = Instant::now();
        let mut stream = UnixStream::connect(format!("/var/run/wireguard/{INTERFACE}.sock")).unwrap();
        stream.write_all(question.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(b"errno=0\n\n"), "the daemon says no");
        began.elapsed()
    }

    fn hex(peer: &PeerConfig) -> String {
        peer.key.as_bytes().iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }
}
