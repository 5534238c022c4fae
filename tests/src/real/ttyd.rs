//! A device with the genuine ttyd: a network of its own, one link to us, and a shell behind it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;

use super::process::ServerProcess;
use crate::failure::{Failure, ensure};
use crate::stage::Stage;

/// The network between proxy and device; nothing else here uses it.
pub(crate) const NETWORK: &str = "10.213.77.0/24";
const OUR_ADDRESS: &str = "10.213.77.1/24";
const DEVICE_ADDRESS: &str = "10.213.77.2";
const OUR_LINK: &str = "iotb-ttyd";

/// The port and the header of `TtydSettings`.
pub(crate) const PORT: u16 = 7681;
pub(crate) const USER_HEADER: &str = "x-remote-user";

const START_DEADLINE: Duration = Duration::from_secs(20);

/// What runs a genuine ttyd on its device: the folder that it is installed in, its address, port and header follow.
///
/// Runs in a network and a mount namespace of its own, both of which end with it. ttyd binds once, at its start,
/// so it waits for its address.
pub(crate) const DEVICE: &str = r#"
mount --make-rprivate /
mount -t proc proc "$0/proc"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$0/dev/pts"
mount --bind "$0/dev/pts/ptmx" "$0/dev/ptmx"
ip link set lo up
until ip -4 addr show | grep -q "$1/"; do sleep 0.05; done
exec chroot "$0" ttyd -i "$1" -p "$2" -W -H "$3" bash --norc
"#;

/// Runs until it is dropped; the link goes with it.
#[derive(Debug)]
pub(crate) struct Ttyd {
    _process: ServerProcess,
}

impl Ttyd {
    pub(crate) async fn start(stage: &Stage) -> Result<Self, Failure> {
        let folder = stage.installed("ttyd")?;
        // What a run that was killed left behind.
        ip(&["link", "delete", OUR_LINK]).await.unwrap_or(());
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "sh", "-euc", DEVICE])
            .arg(&folder)
            .args([DEVICE_ADDRESS, &PORT.to_string(), USER_HEADER]);
        let mut process = ServerProcess::start("ttyd", command, &stage.log("ttyd")?)?;
        let pid = process.id()?;
        process.until(async || has_own_network(&pid), START_DEADLINE).await?;
        link(&pid).await?;
        let address = (DEVICE_ADDRESS, PORT);
        process
            .until(async || TcpStream::connect(address).await.is_ok(), START_DEADLINE)
            .await?;
        Ok(Self { _process: process })
    }
}

/// The namespace is another than ours as soon as `unshare` has done its work.
fn has_own_network(pid: &str) -> bool {
    let namespace = |pid: &str| fs::read_link(Path::new("/proc").join(pid).join("ns/net"));
    matches!((namespace(pid), namespace("self")), (Ok(its), Ok(ours)) if its != ours)
}

async fn link(pid: &str) -> Result<(), Failure> {
    ip(&[
        "link", "add", OUR_LINK, "type", "veth", "peer", "name", "eth0", "netns", pid,
    ])
    .await?;
    ip(&["addr", "add", OUR_ADDRESS, "dev", OUR_LINK]).await?;
    ip(&["link", "set", OUR_LINK, "up"]).await?;
    let its_address = format!("{DEVICE_ADDRESS}/24");
    for arguments in [
        ["link", "set", "eth0", "up"].as_slice(),
        &["addr", "add", &its_address, "dev", "eth0"],
    ] {
        let inside = ["-t", pid, "-n", "ip"];
        run(Command::new("nsenter").args(inside).args(arguments)).await?;
    }
    Ok(())
}

async fn ip(arguments: &[&str]) -> Result<(), Failure> {
    run(Command::new("ip").args(arguments)).await
}

async fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure(output.status.success(), format_args!("{:?}: {said}", command.as_std()))
}
