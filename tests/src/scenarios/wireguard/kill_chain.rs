//! What keeps somebody who has no business there out of a device's shell: three layers, each of them enough. Each is
//! switched on alone, with the two others off; and with all three off the shell is open, which shows that the attack is
//! one.

use std::sync::Arc;

use common::domain::WireguardKey;
use tempfile::TempDir;

use super::device::Device;
use super::matrix::Way;
use super::namespace::Namespace;
use super::{TERMINAL_PORT, underlay};
use crate::failure::Failure;
use crate::stage::project;

/// What stands between two devices, and between the world and a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    /// The hub's kernel passes nothing on.
    Forwarding,
    /// The hub's firewall drops what is passed on.
    Rules,
    /// The device takes packets from the hub's address only.
    AllowedAddresses,
}

const LAYERS: [Layer; 3] = [Layer::Forwarding, Layer::Rules, Layer::AllowedAddresses];

/// An attack on one device's shell. The hub process is paused: it would put right what is switched off here.
pub(super) struct KillChain<'world> {
    hub: &'world Arc<Namespace>,
    hub_key: WireguardKey,
    victim: &'world Device,
    rules: TempDir,
}

impl<'world> KillChain<'world> {
    pub(super) async fn prepare(
        hub: &'world Arc<Namespace>,
        hub_key: WireguardKey,
        victim: &'world Device,
    ) -> Result<Self, Failure> {
        let rules = tempfile::tempdir()?;
        let text = hub.run("nft", &["list", "table", "inet", "iot_bridge"]).await?;
        std::fs::write(rules.path().join("rules"), text)?;
        Ok(Self {
            hub,
            hub_key,
            victim,
            rules,
        })
    }

    /// Somebody with the credential of another device: in the tunnel, and routing everything into it.
    pub(super) async fn with_another_devices_key(&self, attacker: &Device) -> Result<(), Failure> {
        self.each_layer_is_enough(&attacker.namespace).await
    }

    /// Somebody without any, on the network that the hub is reached by.
    pub(super) async fn without_a_credential(&self, attacker: &Arc<Namespace>) -> Result<(), Failure> {
        let target = format!("{}/32", self.victim.address);
        attacker
            .run("ip", &["route", "add", &target, "via", underlay::HUB])
            .await?;
        let result = self.each_layer_is_enough(attacker).await;
        attacker.run("ip", &["route", "delete", &target]).await?;
        result
    }

    /// Somebody without any, on the same network as the device: ttyd listens on the tunnel's address only, which Linux
    /// takes from any side, so the device has a rule of its own.
    pub(super) async fn beside_the_device(&self, attacker: &Arc<Namespace>, neighbour: &str) -> Result<(), Failure> {
        let device = &self.victim.namespace;
        let target = format!("{}/32", self.victim.address);
        attacker.run("ip", &["route", "add", &target, "via", neighbour]).await?;
        let at_its_own_address = Way::new(attacker, 0, (neighbour.parse()?, TERMINAL_PORT), false);
        at_its_own_address.holds().await?;
        self.reaches(attacker, true).await?;
        let tunnel = format!("tunnel={}", device.name());
        let rules = project("deploy/device/iot-device-ttyd.nft").display().to_string();
        device.run("nft", &["-D", &tunnel, "-f", &rules]).await?;
        self.reaches(attacker, false).await?;
        attacker.run("ip", &["route", "delete", &target]).await.map(drop)
    }

    async fn each_layer_is_enough(&self, attacker: &Arc<Namespace>) -> Result<(), Failure> {
        for layer in LAYERS {
            self.switch(layer, true).await?;
        }
        self.reaches(attacker, false).await?;
        for only in LAYERS {
            for layer in LAYERS {
                self.switch(layer, layer == only).await?;
            }
            let result = self.reaches(attacker, false).await;
            result.map_err(|failure| failure.during(&format!("with only {only:?}")))?;
        }
        for layer in LAYERS {
            self.switch(layer, false).await?;
        }
        self.reaches(attacker, true).await?;
        for layer in LAYERS {
            self.switch(layer, true).await?;
        }
        Ok(())
    }

    async fn reaches(&self, attacker: &Arc<Namespace>, shall_be_open: bool) -> Result<(), Failure> {
        let to = (self.victim.address.ip(), TERMINAL_PORT);
        Way::new(attacker, 0, to, shall_be_open).holds().await
    }

    async fn switch(&self, layer: Layer, on: bool) -> Result<(), Failure> {
        match layer {
            Layer::Forwarding => {
                let value = format!("net.ipv4.ip_forward={}", u8::from(!on));
                self.hub.run("sysctl", &["-qw", &value]).await.map(drop)
            }
            Layer::Rules => {
                self.hub.run("nft", &["flush", "ruleset"]).await?;
                if on {
                    let rules = self.rules.path().join("rules").display().to_string();
                    self.hub.run("nft", &["-f", &rules]).await?;
                }
                Ok(())
            }
            Layer::AllowedAddresses => {
                let allowed = if on { "10.8.0.1/32" } else { "0.0.0.0/0" };
                let device = self.victim.namespace.name();
                let hub = self.hub_key.to_base64();
                super::namespace::run("wg", &["set", device, "peer", &hub, "allowed-ips", allowed])
                    .await
                    .map(drop)
            }
        }
    }
}
