//! Ten thousand peers: the bridge's reconciler brings a hub in line within five seconds, and a device that was in line
//! loses no packet meanwhile. A campaign of its own, because putting them on record takes a minute.

use std::process::Stdio;
use std::time::Duration;

use common::domain::WireguardPrivateKey;
use iot_bridge_api::app::reconcile::Swept;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};
use wireguard::Hub as _;

use super::bridge::Bridge;
use super::device::Device;
use super::hub::{HubProcess, INTERFACE, signal};
use super::namespace::run;
use super::underlay::Underlay;
use crate::failure::{Failure, ensure};
use crate::stage::{Stage, say};

const PEERS: usize = 10_000;
/// Half of the difference is missing, half is foreign.
const HALF: usize = PEERS / 200;
const CONVERGES: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(100);

pub(in crate::scenarios) async fn play(stage: &Stage) -> Result<(), Failure> {
    ensure(
        rustix::process::getuid().is_root(),
        "network namespaces can be made by root only",
    )?;
    let mut world = stage.step("a hub and a device", World::build(stage)).await?;
    stage.step("ten thousand devices are on record", world.grow()).await?;
    stage.step("the hub has all of them", world.has_all(PATIENCE)).await?;
    stage
        .step(
            "a difference of 1 % is gone within 5 s, and no packet is lost",
            world.heals(),
        )
        .await?;
    stage
        .step("a hub that lost everything gets it back", world.starts_over())
        .await
}

struct World {
    bridge: Bridge,
    hub: HubProcess,
    device: Device,
    hub_namespace: std::sync::Arc<super::namespace::Namespace>,
    _underlay: Underlay,
    _folder: tempfile::TempDir,
}

impl World {
    async fn build(stage: &Stage) -> Result<Self, Failure> {
        let network = super::network()?;
        let underlay = Underlay::new("iotb-net").await?;
        let hub_namespace = underlay.attach("iotb-hub", 1).await?;
        let namespace = underlay.attach("iotb-dev1", 11).await?;
        let folder = tempfile::tempdir()?;
        let mut hub = HubProcess::new(stage, folder.path(), network)?;
        hub.start(&hub_namespace).await?;
        let address = network.device_addresses().next();
        let address = address.ok_or_else(|| Failure::new("the network has no address"))?;
        let device = Device::connect(&namespace, address, hub.key().await?).await?;
        let bridge = Bridge::start(&hub.socket(), network, "sqlite::memory:").await?;
        bridge.enroll(&device).await?;
        Ok(Self {
            bridge,
            hub,
            device,
            hub_namespace,
            _underlay: underlay,
            _folder: folder,
        })
    }

    async fn grow(&self) -> Result<(), Failure> {
        for number in 1..PEERS {
            let key = WireguardPrivateKey::generate().public_key();
            self.bridge.enroll_key(&format!("pump-{number}"), key).await;
        }
        Ok(())
    }

    async fn has_all(&self, within: Duration) -> Result<(), Failure> {
        let client = self.hub.client();
        let all = async {
            while !client.health().await.is_ok_and(|health| health.peers == PEERS) {
                sleep(LOOK).await;
            }
        };
        let in_time = timeout(within, all).await;
        in_time.map_err(|_| Failure::new(format_args!("not within {} s", within.as_secs())))
    }

    async fn heals(&self) -> Result<(), Failure> {
        let ping = self.ping()?;
        let present = self.hub.client().peers().await?;
        let ours = self.device.as_peer().key;
        let lost = present.iter().map(|status| status.key).filter(|key| *key != ours);
        let mut tampering = vec!["set".to_owned(), INTERFACE.to_owned()];
        for key in lost.take(HALF) {
            tampering.extend(["peer".to_owned(), key.to_base64(), "remove".to_owned()]);
        }
        for _ in 0..HALF {
            let stranger = WireguardPrivateKey::generate().public_key().to_base64();
            tampering.extend(["peer".to_owned(), stranger]);
        }
        let tampering: Vec<_> = tampering.iter().map(String::as_str).collect();
        run("wg", &tampering).await?;
        let began = Instant::now();
        let swept = self.sweep_what_is_seen().await?;
        let took = began.elapsed();
        ensure(
            (swept.added, swept.removed) == (HALF, HALF),
            format_args!("{swept:?} is not the difference"),
        )?;
        say(format_args!("wireguard-large: in line after {} ms", took.as_millis()));
        ensure(took <= CONVERGES, format_args!("it took {} ms", took.as_millis()))?;
        no_packet_was_lost(ping).await
    }

    /// A large hub is listed at most once a second: the first look may see it as it was.
    async fn sweep_what_is_seen(&self) -> Result<Swept, Failure> {
        let found = async {
            loop {
                let swept = self.bridge.sweep().await?;
                if swept != Swept::default() {
                    return Ok(swept);
                }
                sleep(LOOK).await;
            }
        };
        let in_time = timeout(CONVERGES, found).await;
        in_time.map_err(|_| Failure::new("the difference is not seen"))?
    }

    async fn starts_over(&mut self) -> Result<(), Failure> {
        self.hub.kill().await?;
        self.hub.start(&self.hub_namespace).await?;
        let began = Instant::now();
        self.has_all(PATIENCE).await?;
        let took = began.elapsed().as_millis();
        say(format_args!("wireguard-large: all peers back after {took} ms"));
        self.bridge.sweep().await.map(drop)
    }

    /// The device pings the hub, fifty times a second.
    fn ping(&self) -> Result<Child, Failure> {
        let mut command = self.device.namespace.command("ping");
        command.args(["-q", "-i", "0.02", "10.8.0.1"]);
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
    }
}

async fn no_packet_was_lost(ping: Child) -> Result<(), Failure> {
    signal(&ping, Signal::INT)?;
    let output = ping.wait_with_output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.contains("packet loss"));
    let line = line.ok_or_else(|| Failure::new("ping did not count"))?;
    say(format_args!("wireguard-large: {line}"));
    // The last one may be on its way.
    let numbers: Vec<u32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [sent, received, ..] = numbers.as_slice() else {
        return Err(Failure::new("ping did not count"));
    };
    ensure(*sent >= 10 && sent - received <= 1, "packets were lost")
}
