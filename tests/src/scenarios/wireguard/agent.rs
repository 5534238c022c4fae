//! The agent on a device: on an interface that a daemon runs, and embedded without root.

use std::net::SocketAddrV4;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::domain::{Clock as _, SystemClock, VpnAddress, VpnNetwork, WireguardKey, rfc3339};
use device::agent::Device as PreparedDevice;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use wireguard::PeerConfig;
use wireguard::quick::{Ip6Pair, WgQuickConfig};

use super::hub::signal;
use super::namespace::Namespace;
use super::{METRICS_PORT, TERMINAL_PORT, TERMINAL_UID, underlay};
use crate::failure::{Failure, ensure};
use crate::real::bridge::built;

/// The agent looks every five seconds, and WireGuard repeats an unanswered handshake every five.
const COMES_BACK: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);
const ATTEMPT: Duration = Duration::from_millis(500);

/// A device that enrolled, and the agent that keeps it in the network.
pub(super) struct Agent {
    namespace: Arc<Namespace>,
    folder: tempfile::TempDir,
    peer: PeerConfig,
    process: Option<Child>,
}

impl Agent {
    /// Writes down what an enrollment leaves.
    pub(super) async fn enrolled(
        namespace: &Arc<Namespace>,
        (network, address): (VpnNetwork, VpnAddress),
        hub: WireguardKey,
    ) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let state = folder.path().join("state");
        let id = namespace.name();
        drop(PreparedDevice::prepare(state.clone(), Some(id.parse()?)).await?);
        let key = wireguard::private_key(&state.join(device::identity::WIREGUARD_KEY_FILE))?.public_key();
        let tunnel = WgQuickConfig {
            private_key: None,
            address: address.ip(),
            mtu: wireguard::MTU,
            hub_key: hub,
            hub_endpoint: format!("{}:51820", underlay::HUB).parse()?,
            hub_address: network.hub(),
            keepalive_seconds: wireguard::KEEPALIVE_SECONDS,
            ip6: address
                .ip6()
                .zip(network.hub_ip6())
                .map(|(device, hub)| Ip6Pair { device, hub }),
        };
        let csr = std::fs::read_to_string(state.join("request.csr"))?;
        let answer = answer(id, &csr, &tunnel)?;
        std::fs::write(state.join("enrollment.json"), answer.to_string())?;
        Ok(Self {
            namespace: Arc::clone(namespace),
            folder,
            peer: PeerConfig::new(key, address),
            process: None,
        })
    }

    pub(super) fn as_peer(&self) -> PeerConfig {
        self.peer
    }

    /// Starts `iot-device up` as this user.
    pub(super) fn up(&mut self, uid: u32, arguments: &[&str]) -> Result<(), Failure> {
        let state = self.folder.path().join("state");
        let program = self.folder.path().join("iot-device");
        if uid != 0 {
            for path in [self.folder.path(), &state].map(std::path::Path::to_owned) {
                own(&path, uid)?;
            }
        }
        std::fs::copy(built("iot-device")?, &program)?;
        let mut command = self.namespace.command("setpriv");
        command
            .args(["--reuid", &uid.to_string(), "--clear-groups"])
            .arg(&program);
        command.arg("--state-dir").arg(&state).arg("up").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn()?);
        Ok(())
    }

    /// Waits until the hub reaches the device's terminal.
    pub(super) async fn terminal_answers(&self, hub: &Namespace) -> Result<(), Failure> {
        let to = SocketAddrV4::new(self.peer.address.ip(), TERMINAL_PORT);
        self.until("the hub reaches the device", async || {
            hub.connect(TERMINAL_UID, to, ATTEMPT).await.is_ok()
        })
        .await
    }

    /// Waits until the device reaches the hub.
    pub(super) async fn hub_answers(&self, hub: std::net::Ipv4Addr) -> Result<(), Failure> {
        let to = SocketAddrV4::new(hub, METRICS_PORT);
        self.until("the device reaches the hub", async || {
            self.namespace.connect(0, to, ATTEMPT).await.is_ok()
        })
        .await
    }

    /// What `iot-device status` says of itself.
    pub(super) async fn status(&self) -> Result<String, Failure> {
        let mut command = Command::new(built("iot-device")?);
        command
            .arg("--state-dir")
            .arg(self.folder.path().join("state"))
            .arg("status");
        let output = command.output().await?;
        ensure(output.status.success(), "no status")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Asks it to end.
    pub(super) async fn down(&mut self) -> Result<(), Failure> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        signal(&process, Signal::TERM)?;
        let status = timeout(COMES_BACK, process.wait()).await??;
        ensure(status.success(), format_args!("the agent ended with {status}"))
    }

    async fn until(&self, what: &str, ready: impl AsyncFn() -> bool) -> Result<(), Failure> {
        let wait = async {
            while !ready().await {
                sleep(LOOK).await;
            }
        };
        let in_time = timeout(COMES_BACK, wait).await;
        let seconds = COMES_BACK.as_secs();
        in_time.map_err(|_| Failure::new(format_args!("{what}: not within {seconds} s")))
    }
}

/// Gives a folder and what is in it to a user.
fn own(path: &std::path::Path, uid: u32) -> Result<(), Failure> {
    std::os::unix::fs::chown(path, Some(uid), None)?;
    for entry in std::fs::read_dir(path)? {
        std::os::unix::fs::chown(entry?.path(), Some(uid), None)?;
    }
    Ok(())
}

/// What a bridge answers, with certificates of an authority that is gone.
fn answer(id: &str, csr: &str, tunnel: &WgQuickConfig) -> Result<serde_json::Value, Failure> {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    };
    let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate()?)?;
    let intermediate = CertifiedIssuer::signed_by(authority("intermediate"), KeyPair::generate()?, &root)?;
    let request = CertificateSigningRequestParams::from_pem(csr)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, id);
    params.subject_alt_names = vec![SanType::DnsName(id.try_into()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let now = SystemClock.now();
    let not_after = now.replace_nanosecond(0)? + Duration::from_hours(24 * 30);
    (params.not_before, params.not_after) = (now, not_after);
    let leaf = params.signed_by(&request.public_key, &intermediate)?.pem();
    Ok(serde_json::json!({
        "device_id": id,
        "certificate": leaf,
        "certificate_chain": format!("{leaf}{}", intermediate.pem()),
        "ca_chain": format!("{}{}", intermediate.pem(), root.pem()),
        "not_after": rfc3339(not_after),
        "server_time": rfc3339(now),
        "wireguard_ip": tunnel.address,
        "wireguard_config": tunnel.render(),
    }))
}
