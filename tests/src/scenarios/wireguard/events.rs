//! What may happen to a hub.

use std::time::Duration;

use common::domain::WireguardPrivateKey;
use secrecy::ExposeSecret as _;
use tokio::time::sleep;

use super::device::Device;
use super::hub::{HubProcess, INTERFACE};
use super::namespace::Namespace;
use crate::failure::Failure;

/// How long between two looks whether all is put right.
const LOOK: Duration = Duration::from_millis(20);

/// One thing that happens, and the step that it is.
pub(super) struct Event {
    pub(super) name: &'static str,
    what: What,
}

enum What {
    /// The hub process is asked to end, and started again.
    Restart,
    /// The hub process is killed, and started again.
    Kill,
    /// The daemon is killed.
    DaemonKill,
    /// Somebody types a command, for each device if it names `DEVICE` (its key) or `ADDRESS`.
    ByHand(&'static str),
}

pub(super) const ALL: &[Event] = &[
    Event {
        name: "after a restart of the hub all is as before",
        what: What::Restart,
    },
    Event {
        name: "after the hub was killed all is as before",
        what: What::Kill,
    },
    Event {
        name: "after the daemon was killed all is as before",
        what: What::DaemonKill,
    },
    Event {
        name: "after the interface was deleted all is as before",
        what: What::ByHand("ip link delete dev INTERFACE"),
    },
    Event {
        name: "after the interface was taken down all is as before",
        what: What::ByHand("ip link set dev INTERFACE down"),
    },
    Event {
        name: "after the hub took a device's address all is as before",
        what: What::ByHand("ip address add ADDRESS/32 dev INTERFACE"),
    },
    Event {
        name: "after peers were removed by hand all is as before",
        what: What::ByHand("wg set INTERFACE peer DEVICE remove"),
    },
    Event {
        name: "after devices' addresses were given to a stranger all is as before",
        what: What::ByHand("wg set INTERFACE peer STRANGER allowed-ips ADDRESS/32"),
    },
    Event {
        name: "after the hub's key was changed all is as before",
        what: What::ByHand("wg set INTERFACE private-key KEYFILE"),
    },
    Event {
        name: "after the rules were flushed all is as before",
        what: What::ByHand("nft flush ruleset"),
    },
    Event {
        name: "after a rule was slipped in all is as before",
        what: What::ByHand("nft insert rule inet iot_bridge from_devices accept"),
    },
    Event {
        name: "after forwarding was switched on all is as before",
        what: What::ByHand("sysctl -qw net.ipv4.ip_forward=1"),
    },
];

impl Event {
    /// Lets it happen.
    pub(super) async fn happen(
        &self,
        hub: &mut HubProcess,
        namespace: &Namespace,
        devices: &[Device],
    ) -> Result<(), Failure> {
        match self.what {
            What::Restart => {
                hub.end().await?;
                hub.start(namespace).await
            }
            What::Kill => {
                hub.kill().await?;
                hub.start(namespace).await
            }
            What::DaemonKill => hub.kill_daemon().await,
            What::ByHand(command) => type_in(command, namespace, devices).await,
        }
    }
}

async fn type_in(command: &str, namespace: &Namespace, devices: &[Device]) -> Result<(), Failure> {
    let stranger = WireguardPrivateKey::generate();
    let folder = tempfile::tempdir()?;
    let key_file = folder.path().join("key");
    std::fs::write(&key_file, stranger.to_base64().expose_secret())?;
    let command = command
        .replace("INTERFACE", INTERFACE)
        .replace("STRANGER", &stranger.public_key().to_base64())
        .replace("KEYFILE", &key_file.to_string_lossy());
    let is_for_each = command.contains("DEVICE") || command.contains("ADDRESS");
    for device in &devices[..if is_for_each { devices.len() } else { 1 }] {
        let command = command.replace("DEVICE", &device.as_peer().key.to_base64());
        let command = command.replace("ADDRESS", &device.address.to_string());
        let words: Vec<_> = command.split(' ').collect();
        namespace.run(words[0], &words[1..]).await?;
    }
    Ok(())
}

/// Waits until nothing is left of what no connection would show.
pub(super) async fn nothing_is_left(namespace: &Namespace) {
    while !is_put_right(namespace).await.unwrap_or(false) {
        sleep(LOOK).await;
    }
}

async fn is_put_right(namespace: &Namespace) -> Result<bool, Failure> {
    let rules = namespace.run("nft", &["list", "ruleset"]).await?;
    let forwarding = namespace.run("sysctl", &["-n", "net.ipv4.ip_forward"]).await?;
    let addresses = namespace
        .run("ip", &["-4", "-oneline", "address", "show", "dev", INTERFACE])
        .await?;
    let has_rules = rules.contains("chain to_devices") && !rules.contains("\t\taccept");
    Ok(has_rules && forwarding.trim() == "0" && addresses.lines().count() == 1)
}
