//! The device network on a real interface: a hub, three devices and an outsider, each in a network
//! namespace of its own, with wireguard-go, nftables and ttyd. Who reaches whom, before and after
//! everything that may happen to a hub. Needs root.

mod agent;
pub(super) mod bridge;
pub(super) mod device;
mod events;
pub(super) mod hub;
mod kill_chain;
pub(super) mod large;
mod matrix;
pub(super) mod namespace;
pub(super) mod underlay;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{VpnAddress, VpnNetwork};
use tempfile::TempDir;
use tokio::task::JoinSet;
use wireguard::contract::keeps_its_promises;
use wireguard::{Hub as _, PeerConfig};

use self::agent::Agent;
use self::bridge::Bridge;
use self::device::Device;
use self::hub::HubProcess;
use self::kill_chain::KillChain;
use self::matrix::{Matrix, Way};
use self::namespace::Namespace;
use self::underlay::Underlay;
use crate::failure::{Failure, ensure};
use crate::stage::Stage;

/// The only user who may reach a device's terminal: terminal-proxy's.
pub(super) const TERMINAL_UID: u32 = 999;
pub(super) const TERMINAL_PORT: u16 = 7681;

/// The hub's port that devices may reach.
const METRICS_PORT: u16 = 8086;

/// What the hub serves as well, and no device may reach.
const CLOSED_HUB_PORTS: [u16; 4] = [22, 8000, 8888, TERMINAL_PORT];

/// What a device serves besides its terminal, and nobody may reach.
const CLOSED_DEVICE_PORTS: [u16; 3] = [22, 80, METRICS_PORT];

/// WireGuard repeats an unanswered handshake every five seconds.
const FIRST_HANDSHAKE: Duration = Duration::from_secs(15);

/// How long the network may be away, whatever happened to the hub.
const RECOVERY: Duration = Duration::from_secs(5);

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    ensure(
        rustix::process::getuid().is_root(),
        "network namespaces can be made by root only",
    )?;
    let mut world = stage.step("five network namespaces", World::build(stage)).await?;
    stage
        .step("rules that do not load keep the interface down", world.rules_decide())
        .await?;
    stage
        .step("the hub process comes up", world.hub.start(&world.hub_namespace))
        .await?;
    stage.step("it keeps every promise of a hub", world.promises()).await?;
    stage
        .step(
            "the agent brings a device in by a daemon, and it comes back",
            world.agent_on_an_interface(),
        )
        .await?;
    stage
        .step("the agent brings a device in without root", world.agent_without_root())
        .await?;
    stage
        .step("three devices join and serve a genuine ttyd", world.join(stage))
        .await?;
    stage
        .step("nobody reaches what is not theirs", world.matrix().holds())
        .await?;
    stage
        .step("a stranger with the hub's key gets no handshake", world.stranger())
        .await?;
    stage
        .step("a prefix is added while everything runs", world.grows())
        .await?;
    for event in events::ALL {
        stage.step(event.name, world.recovers_from(event)).await?;
    }
    stage
        .step(
            "nobody reaches what is not theirs, after all that",
            world.matrix().holds(),
        )
        .await?;
    stage
        .step("three layers keep attackers out, each of them enough", world.attacks())
        .await?;
    stage
        .step("without the hub nothing leaves in the clear", world.nothing_leaks())
        .await?;
    stage
        .step("without its rules the matrix does not hold", world.rules_matter())
        .await
}

/// Everything, in the order in which it has to go.
struct World {
    bridge: Option<Bridge>,
    listeners: JoinSet<()>,
    devices: Vec<Device>,
    last_seen: Vec<PeerConfig>,
    hub: HubProcess,
    hub_namespace: Arc<Namespace>,
    outsider: Arc<Namespace>,
    device_namespaces: Vec<Arc<Namespace>>,
    ttyd: PathBuf,
    network: VpnNetwork,
    _underlay: Underlay,
    _folder: TempDir,
}

impl World {
    async fn build(stage: &Stage) -> Result<Self, Failure> {
        let network = network()?;
        let underlay = Underlay::new("iotb-net").await?;
        let hub_namespace = underlay.attach("iotb-hub", 1).await?;
        let outsider = underlay.attach("iotb-out", 99).await?;
        let mut device_namespaces = Vec::new();
        for number in 1..=3 {
            device_namespaces.push(underlay.attach(&format!("iotb-dev{number}"), 10 + number).await?);
        }
        let folder = tempfile::tempdir()?;
        let mut listeners = JoinSet::new();
        let hub_ports = CLOSED_HUB_PORTS.into_iter().chain([METRICS_PORT]);
        hub_namespace.serve(hub_ports, &mut listeners).await?;
        for namespace in &device_namespaces {
            namespace.serve(CLOSED_DEVICE_PORTS, &mut listeners).await?;
        }
        Ok(Self {
            bridge: None,
            listeners,
            devices: Vec::new(),
            last_seen: Vec::new(),
            hub: HubProcess::new(stage, folder.path(), network)?,
            hub_namespace,
            outsider,
            device_namespaces,
            ttyd: stage.installed("ttyd")?,
            network,
            _underlay: underlay,
            _folder: folder,
        })
    }

    /// A machine whose `nft` says no: the hub process ends, and there is no interface that is up.
    async fn rules_decide(&mut self) -> Result<(), Failure> {
        self.hub.fails_without_nft(&self.hub_namespace).await?;
        let links = self.hub_namespace.run("ip", &["-brief", "link", "show", "up"]).await?;
        ensure(
            !links.contains(hub::INTERFACE),
            format_args!("the interface is up: {links}"),
        )
    }

    async fn promises(&self) -> Result<(), Failure> {
        let kept = keeps_its_promises(&self.hub.client(), self.network).await?;
        ensure(kept > 0, "there was no promise to keep")
    }

    /// `iot-device up` over a daemon; somebody deletes its interface.
    async fn agent_on_an_interface(&self) -> Result<(), Failure> {
        let [namespace, ..] = self.device_namespaces.as_slice() else {
            return Err(Failure::new("there is no device"));
        };
        let mut agent = self.agent(namespace, 50).await?;
        let interface = namespace.name();
        agent.up(0, &["--tunnel", "daemon", "--interface", interface])?;
        agent.terminal_answers(&self.hub_namespace).await?;
        agent.hub_answers(self.network.hub()).await?;
        let routes = namespace.run("ip", &["route", "show", "dev", interface]).await?;
        ensure(
            routes.trim().starts_with("10.8.0.1 ") && routes.lines().count() == 1,
            format_args!("more than the hub is routed into the tunnel: {routes}"),
        )?;
        namespace.run("ip", &["link", "delete", "dev", interface]).await?;
        agent.hub_answers(self.network.hub()).await?;
        agent.terminal_answers(&self.hub_namespace).await?;
        namespace
            .run("ping", &["-6", "-c", "1", "-W", "3", "fd5a:1:2:3::a08:1"])
            .await?;
        ensure(
            agent.status().await?.contains("10.8.0.50"),
            "its status lacks its address",
        )?;
        agent.down().await?;
        Ok(self.hub.client().remove_peers(&[agent.as_peer().key]).await?)
    }

    async fn agent_without_root(&self) -> Result<(), Failure> {
        const NOBODY: u32 = 65534;
        let [_, namespace, ..] = self.device_namespaces.as_slice() else {
            return Err(Failure::new("there is no second device"));
        };
        let mut agent = self.agent(namespace, 51).await?;
        agent.up(NOBODY, &["--tunnel", "embedded"])?;
        agent.terminal_answers(&self.hub_namespace).await?;
        agent.down().await?;
        Ok(self.hub.client().remove_peers(&[agent.as_peer().key]).await?)
    }

    async fn agent(&self, namespace: &Arc<Namespace>, number: u8) -> Result<Agent, Failure> {
        let hub = self.hub.key().await?;
        let agent = Agent::enrolled(namespace, (self.network, self.address(number)?), hub).await?;
        self.hub.client().ensure_peers(&[agent.as_peer()]).await?;
        Ok(agent)
    }

    /// Puts every device on record; the bridge's reconciler lets them in.
    async fn join(&mut self, stage: &Stage) -> Result<(), Failure> {
        let hub_key = self.hub.key().await?;
        for (number, namespace) in (2..).zip(&self.device_namespaces) {
            let address = self.address(number)?;
            let device = Device::join(stage, namespace, address, &self.ttyd, hub_key).await?;
            self.devices.push(device);
        }
        let bridge = self
            .bridge
            .insert(Bridge::start(&self.hub.socket(), self.network, "sqlite::memory:").await?);
        for device in &self.devices {
            bridge.enroll(device).await?;
        }
        self.matrix().open_ways_work(FIRST_HANDSHAKE).await?;
        for device in &self.devices {
            device.has_a_genuine_ttyd(&self.hub_namespace).await?;
        }
        Ok(())
    }

    async fn recovers_from(&mut self, event: &events::Event) -> Result<(), Failure> {
        event.happen(&mut self.hub, &self.hub_namespace, &self.devices).await?;
        let whole = async {
            events::nothing_is_left(&self.hub_namespace).await;
            self.matrix().open_ways_work(RECOVERY).await
        };
        let in_time = tokio::time::timeout(RECOVERY, whole).await;
        in_time.map_err(|_| Failure::new("the network did not come back within 5 s"))??;
        self.matrix().holds().await
    }

    /// Somebody who knows everything but a device's private key.
    async fn stranger(&mut self) -> Result<(), Failure> {
        let key = self.hub.key().await?;
        let _stranger = Device::connect(&self.outsider, self.address(77)?, key).await?;
        let way = Way::new(&self.outsider, 0, (self.network.hub(), METRICS_PORT), false);
        way.holds().await
    }

    /// The devices keep their connections while the hub learns of another prefix, which is guarded like the first.
    async fn grows(&mut self) -> Result<(), Failure> {
        let Some(bridge) = &self.bridge else {
            return Err(Failure::new("there is no bridge"));
        };
        let [first, ..] = self.devices.as_slice() else {
            return Err(Failure::new("there is no device"));
        };
        let before = first.last_handshake().await?;
        let network = bridge.add_prefix("10.77.0.0/24").await?;
        let rules = self.hub_namespace.run("nft", &["list", "ruleset"]).await?;
        ensure(rules.contains("10.77.0.0/24"), "the rules do not know the prefix")?;
        let routes = self
            .hub_namespace
            .run("ip", &["route", "show", "dev", hub::INTERFACE])
            .await?;
        ensure(routes.contains("10.77.0.0/24"), "there is no route to the prefix")?;
        ensure(network.prefixes().count() == 2, "there is one prefix")?;
        ensure(
            first.last_handshake().await? == before,
            "a device had to shake hands again",
        )?;
        self.matrix().holds().await
    }

    /// With the hub process paused: it would put right what is switched off.
    async fn attacks(&mut self) -> Result<(), Failure> {
        let key = self.hub.key().await?;
        let [victim, attacker, ..] = self.devices.as_slice() else {
            return Err(Failure::new("there are no two devices"));
        };
        self.hub.pause()?;
        let chain = KillChain::prepare(&self.hub_namespace, key, victim).await?;
        chain.with_another_devices_key(attacker).await?;
        chain.without_a_credential(&self.outsider).await?;
        chain.beside_the_device(&self.outsider, "192.0.2.11").await?;
        self.hub.resume()
    }

    async fn nothing_leaks(&mut self) -> Result<(), Failure> {
        if let Some(bridge) = &mut self.bridge {
            bridge.end().await;
        }
        self.last_seen = self.peers_as_seen().await?;
        self.hub.end().await?;
        // The outsider poses as the first device on the way that is left.
        let [first, ..] = self.devices.as_slice() else {
            return Err(Failure::new("there is no device"));
        };
        let address = first.address.ip();
        self.outsider
            .run("ip", &["address", "add", &format!("{address}/32"), "dev", "lo"])
            .await?;
        self.outsider.serve([TERMINAL_PORT], &mut self.listeners).await?;
        let default = ["route", "add", "default", "via", underlay::OUTSIDER];
        self.hub_namespace.run("ip", &default).await?;
        let way = Way::new(&self.hub_namespace, TERMINAL_UID, (address, TERMINAL_PORT), false);
        way.holds().await?;
        // And that it is the rules that keep it from leaving.
        self.hub_namespace.run("nft", &["flush", "ruleset"]).await?;
        let way = Way::new(&self.hub_namespace, TERMINAL_UID, (address, TERMINAL_PORT), true);
        way.holds().await?;
        self.hub_namespace
            .run("ip", &["route", "delete", "default"])
            .await
            .map(drop)
    }

    /// The matrix would notice if there were no rules: a stopped hub process does not bring them back.
    async fn rules_matter(&mut self) -> Result<(), Failure> {
        self.hub.start(&self.hub_namespace).await?;
        self.hub.client().ensure_peers(&self.last_seen).await?;
        self.hub.pause()?;
        self.hub_namespace.run("nft", &["flush", "ruleset"]).await?;
        self.matrix().opened_for_all(RECOVERY).await
    }

    async fn peers_as_seen(&self) -> Result<Vec<PeerConfig>, Failure> {
        let seen = self.hub.client().peers().await?;
        let endpoint = |peer: &PeerConfig| seen.iter().find(|status| status.key == peer.key)?.endpoint;
        let peers = self.devices.iter().map(Device::as_peer);
        Ok(peers.map(|peer| peer.last_seen_at(endpoint(&peer))).collect())
    }

    fn matrix(&self) -> Matrix<'_> {
        Matrix {
            hub: &self.hub_namespace,
            outsider: &self.outsider,
            devices: &self.devices,
            network: self.network,
        }
    }

    fn address(&self, number: u8) -> Result<VpnAddress, Failure> {
        let [first, second, ..] = self.network.hub().octets();
        let address = self.network.device_address(Ipv4Addr::new(first, second, 0, number));
        address.ok_or_else(|| Failure::new("the network has no such address"))
    }
}

fn network() -> Result<VpnNetwork, Failure> {
    let network = VpnNetwork::new("10.8.0.0/16".parse()?, None)?;
    Ok(network.beside_ula("fd5a:1:2:3::/64".parse()?)?)
}

/// Returns the names of what is there, for a message.
fn list(names: impl IntoIterator<Item = String>) -> String {
    let names: BTreeSet<_> = names.into_iter().collect();
    names.into_iter().collect::<Vec<_>>().join("; ")
}
