use std::io::{Read as _, Write as _};
use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{VpnAddress, WireguardKey, WireguardPrivateKey};
use secrecy::ExposeSecret as _;
use tokio::process::{Child, Command};
use wireguard::PeerConfig;

use super::namespace::{Namespace, run};
use super::{TERMINAL_PORT, TERMINAL_UID, underlay};
use crate::failure::{Failure, ensure};
use crate::stage::Stage;

/// A device that routes the whole network into its tunnel, whatever its configuration says.
pub(in crate::scenarios) struct Device {
    pub(in crate::scenarios) namespace: Arc<Namespace>,
    pub(in crate::scenarios) address: VpnAddress,
    key: WireguardKey,
    _daemon: Child,
    _ttyd: Option<Child>,
}

impl Device {
    /// Connects a device and starts a genuine ttyd on its address.
    pub(in crate::scenarios) async fn join(
        stage: &Stage,
        namespace: &Arc<Namespace>,
        address: VpnAddress,
        ttyd: &Path,
        hub: WireguardKey,
    ) -> Result<Self, Failure> {
        let device = Self::connect(namespace, address, hub).await?;
        let mut command = namespace.command("chroot");
        command.arg(ttyd).args([
            "ttyd",
            "-W",
            "-p",
            &TERMINAL_PORT.to_string(),
            "-i",
            &address.to_string(),
            "bash",
        ]);
        let log = std::fs::File::create(stage.log(&format!("ttyd-{address}"))?)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self {
            _ttyd: Some(command.spawn()?),
            ..device
        })
    }

    /// Brings a tunnel to the hub up.
    pub(in crate::scenarios) async fn connect(
        namespace: &Arc<Namespace>,
        address: VpnAddress,
        hub: WireguardKey,
    ) -> Result<Self, Failure> {
        let interface = namespace.name();
        let mut daemon = namespace.command("wireguard-go");
        daemon
            .arg(interface)
            .env("WG_PROCESS_FOREGROUND", "1")
            .env("LOG_LEVEL", "error");
        let daemon = daemon.spawn()?;
        let private_key = WireguardPrivateKey::generate();
        configure(interface, &private_key, hub).await?;
        namespace
            .run("ip", &["address", "add", &format!("{address}/16"), "dev", interface])
            .await?;
        namespace
            .run("ip", &["link", "set", interface, "mtu", "1420", "up"])
            .await?;
        let key = private_key.public_key();
        Ok(Self {
            namespace: Arc::clone(namespace),
            address,
            key,
            _daemon: daemon,
            _ttyd: None,
        })
    }

    pub(in crate::scenarios) fn as_peer(&self) -> PeerConfig {
        PeerConfig::new(self.key, self.address)
    }

    /// Returns when the device last shook hands with the hub, in Unix seconds.
    pub(in crate::scenarios) async fn last_handshake(&self) -> Result<String, Failure> {
        run("wg", &["show", self.namespace.name(), "latest-handshakes"]).await
    }

    /// Asks ttyd for what only ttyd answers.
    pub(in crate::scenarios) async fn has_a_genuine_ttyd(&self, hub: &Namespace) -> Result<(), Failure> {
        let to = SocketAddrV4::new(self.address.ip(), TERMINAL_PORT);
        let within = Duration::from_secs(3);
        let mut stream = hub.connect(TERMINAL_UID, to, within).await?;
        stream.set_read_timeout(Some(within))?;
        let ask = move || {
            write!(stream, "GET /token HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n")?;
            let mut answer = [0; 1024];
            let length = stream.read(&mut answer)?;
            Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer[..length]).into_owned())
        };
        let answer = tokio::task::spawn_blocking(ask).await??;
        ensure(
            answer.contains("server: ttyd/1.7.7"),
            format_args!("on {to} is no ttyd 1.7.7: {answer}"),
        )
    }
}

/// Waits for a daemon's socket, and tells it its key and the hub.
async fn configure(interface: &str, key: &WireguardPrivateKey, hub: WireguardKey) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    std::fs::write(&file, key.to_base64().expose_secret())?;
    let mut command = Command::new("wg");
    command
        .args(["set", interface, "private-key"])
        .arg(&file)
        .args(["peer", &hub.to_base64()]);
    command.args([
        "endpoint",
        &format!("{}:51820", underlay::HUB),
        "allowed-ips",
        "10.8.0.0/16",
    ]);
    command.args(["persistent-keepalive", "25"]);
    let mut last_words = String::new();
    for _ in 0..100 {
        let output = command.output().await?;
        if output.status.success() {
            return Ok(());
        }
        last_words = String::from_utf8_lossy(&output.stderr).into_owned();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(Failure::new(format_args!(
        "{interface} cannot be configured: {last_words}"
    )))
}
