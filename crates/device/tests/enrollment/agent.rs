//! The whole device: it enrolls over HTTP, gets into a real WireGuard network and serves its shell there.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::shutdown::Shutdown;
use common::domain::{DeviceId, SystemClock, VpnAddress, VpnNetwork, WireguardPrivateKey};
use device::agent::{self, AgentError, Device, DeviceSettings};
use device::config::Beside;
use device::identity::Identity;
use device::state::StateDirectory;
use device::terminal::{PORT, Shell, TerminalSettings};
use futures_util::{SinkExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use wireguard::{DialError, EmbeddedHub, Hub as _, HubConfig, PeerConfig};

use crate::bridge::{Authority, Bridge};

const PATIENCE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_device_comes_up_by_itself_and_its_shell_answers_through_the_tunnel() {
    let stage = Stage::new().await;
    let shutdown = Shutdown::new();

    let device = agent::start(stage.settings(), &shutdown).await.unwrap();

    assert_eq!(
        (device.id().as_str(), device.address()),
        ("pump-7", Ipv4Addr::new(10, 8, 0, 2))
    );
    assert!(stage.shell_says().await.contains("42\r\n"));
    assert!(shutdown.finish(PATIENCE).await);
}

#[tokio::test]
async fn a_second_start_finds_its_place_without_asking_again() {
    let stage = Stage::new().await;
    let first = agent::start(stage.settings(), &Shutdown::new()).await.unwrap();
    let running = agent::start(stage.settings(), &Shutdown::new()).await.unwrap_err();
    first.stop().await;

    let second = agent::start(stage.settings(), &Shutdown::new()).await.unwrap();

    assert!(running.to_string().contains("in use by another process"), "{running}");
    assert_eq!(stage.bridge.asked().len(), 1);
    assert!(stage.shell_says().await.contains("42\r\n"));
    second.stop().await;
}

#[tokio::test]
async fn a_device_that_was_stopped_is_gone_from_the_network() {
    let stage = Stage::new().await;
    let device = agent::start(stage.settings(), &Shutdown::new()).await.unwrap();

    device.stop().await;

    let deadline = Instant::now() + Duration::from_millis(300);
    let dialled = stage.hub.dial(stage.address, PORT, deadline).await;
    assert_eq!(dialled.err(), Some(DialError::NoAnswer));
}

#[tokio::test]
async fn a_device_that_never_enrolled_does_not_come_up() {
    let directory = tempfile::tempdir().unwrap();
    let id = DeviceId::parse("pump-7").unwrap();

    let without_keys = Device::prepare(directory.path().join("a"), None).await.unwrap_err();
    let device = Device::prepare(directory.path().join("a"), Some(id)).await.unwrap();

    assert!(matches!(without_keys, AgentError::Identity(_)), "{without_keys:?}");
    assert!(!device.is_enrolled());
    assert!(matches!(device.enrolled(), Err(AgentError::NotEnrolled)));
}

#[tokio::test]
async fn a_ttyd_on_the_device_serves_its_terminal() {
    let stage = Stage::new().await;
    let shutdown = Shutdown::new();
    let settings = stage.settings();
    let ttyd = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let beside = Beside {
        ttyd: Some(ttyd.local_addr().unwrap()),
        hub_ports: Vec::new(),
    };

    let device = Device::prepare(settings.state_directory, Some(settings.id))
        .await
        .unwrap();
    let connected = device
        .enroll(&settings.enroll)
        .await
        .unwrap()
        .connect(None)
        .await
        .unwrap();
    let running = connected
        .serve_with(&beside, settings.terminal, &shutdown)
        .await
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut hub_side = stage.hub.dial(stage.address, PORT, deadline).await.unwrap();
    let (mut ttyd_side, _) = ttyd.accept().await.unwrap();
    hub_side.write_all(b"typed").await.unwrap();
    let mut typed = [0; 5];
    ttyd_side.read_exact(&mut typed).await.unwrap();
    ttyd_side.write_all(b"shown").await.unwrap();
    drop(ttyd_side);
    let mut shown = String::new();
    hub_side.read_to_string(&mut shown).await.unwrap();

    assert_eq!((&typed, shown.as_str()), (b"typed", "shown"));
    running.stop().await;
}

/// A hub, and a bridge that lets devices into its network.
struct Stage {
    hub: EmbeddedHub,
    address: VpnAddress,
    bridge: Bridge,
    directory: TempDir,
}

impl Stage {
    async fn new() -> Self {
        let network = VpnNetwork::new("10.8.0.0/24".parse().unwrap(), None).unwrap();
        let private_key = WireguardPrivateKey::generate();
        let hub_key = private_key.public_key().to_base64();
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        let hub = HubConfig {
            private_key,
            network,
            listen,
            clock: Arc::new(SystemClock),
        };
        let hub = EmbeddedHub::start(hub).await.unwrap();

        // The bridge would do this in its answer; this one knows the device's key beforehand.
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(directory.path().join("pump-7")).unwrap();
        let identity = Identity::load_or_create(&state, &DeviceId::parse("pump-7").unwrap()).unwrap();
        let address = network.device_address(Ipv4Addr::new(10, 8, 0, 2)).unwrap();
        hub.ensure_peers(&[PeerConfig::new(identity.wireguard_key().public_key(), address)])
            .await
            .unwrap();

        let bridge = Bridge::honest(Authority::with_hub(&hub_key, hub.listen_address())).await;
        Self {
            hub,
            address,
            bridge,
            directory,
        }
    }

    fn settings(&self) -> DeviceSettings {
        let shell = Shell::command("/bin/sh", vec!["-i".into()]).with_variable("PS1", "$ ");
        DeviceSettings {
            id: DeviceId::parse("pump-7").unwrap(),
            state_directory: self.directory.path().join("pump-7"),
            enroll: self.bridge.settings(),
            hub_endpoint: None,
            terminal: TerminalSettings {
                shell,
                ..TerminalSettings::default()
            },
        }
    }

    /// Returns what the device's shell answers when it is asked for six times seven.
    async fn shell_says(&self) -> String {
        let stream = self
            .hub
            .dial(self.address, PORT, Instant::now() + PATIENCE)
            .await
            .unwrap();
        let mut request = "ws://10.8.0.2:7681/ws".into_client_request().unwrap();
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", "tty".parse().unwrap());
        let (mut terminal, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        terminal.send(Message::text("{}")).await.unwrap();
        terminal.send(Message::text("0echo $((6*7)); exit\r")).await.unwrap();
        let mut output = Vec::new();
        let reading = async {
            while let Some(Ok(message)) = terminal.next().await {
                output.extend_from_slice(&message.into_data());
            }
        };
        timeout(PATIENCE, reading).await.unwrap();
        String::from_utf8_lossy(&output).into_owned()
    }
}
