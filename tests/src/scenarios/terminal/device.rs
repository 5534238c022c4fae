//! The device: a tunnel of its own and a genuine ttyd behind it.

use std::sync::Arc;

use common::domain::{VpnAddress, WireguardKey};
use tokio::process::Command;

use crate::failure::Failure;
use crate::real::process::ServerProcess;
use crate::real::ttyd::{DEVICE, PORT, USER_HEADER};
use crate::scenarios::wireguard::device::Device;
use crate::scenarios::wireguard::namespace::Namespace;
use crate::stage::Stage;

pub(super) struct ShellDevice {
    pub(super) tunnel: Device,
    _ttyd: ServerProcess,
}

impl ShellDevice {
    pub(super) async fn join(
        stage: &Stage,
        namespace: &Arc<Namespace>,
        address: VpnAddress,
        hub: WireguardKey,
    ) -> Result<Self, Failure> {
        let tunnel = Device::connect(namespace, address, hub).await?;
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace.name()])
            .args(["unshare", "--mount", "sh", "-euc", DEVICE])
            .arg(stage.installed("ttyd")?)
            .args([&address.to_string(), &PORT.to_string(), USER_HEADER]);
        let ttyd = ServerProcess::start("ttyd", command, &stage.log("terminal-ttyd")?)?;
        Ok(Self { tunnel, _ttyd: ttyd })
    }
}
