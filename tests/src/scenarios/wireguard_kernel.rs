//! The hub on the kernel's own WireGuard, in a small virtual machine: the contract of all hubs, a device
//! through the socket, and what may happen to the interface. The steps are in
//! `tests/real/wireguard-kernel.init`, which is all that runs in the machine.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::failure::{Failure, ensure};
use crate::stage::{Stage, say};

/// The machine is emulated: it takes about a minute.
const PATIENCE: Duration = Duration::from_mins(5);

/// What the machine says at last, if it got so far.
const END: &str = "all steps are done";

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    stage
        .step("a machine with WireGuard in its kernel", run_machine(stage))
        .await
}

async fn run_machine(stage: &Stage) -> Result<(), Failure> {
    let folder = stage.installed("wireguard-kernel")?;
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg", "-m", "512", "-nographic", "-no-reboot", "-nic", "none"]);
    command
        .arg("-kernel")
        .arg(folder.join("vmlinuz"))
        .arg("-initrd")
        .arg(folder.join("initramfs"));
    command.args(["-append", "console=ttyS0 panic=-1 quiet"]);
    let mut machine = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let console = machine
        .stdout
        .take()
        .ok_or_else(|| Failure::new("the machine has no console"))?;
    let mut log = File::create(stage.log("wireguard-kernel")?)?;
    let mut lines = BufReader::new(console).split(b'\n');
    let listen = async {
        let (mut passed, mut failed) = (0, Vec::new());
        while let Some(line) = lines.next_segment().await? {
            let line = String::from_utf8_lossy(&line).trim().to_owned();
            writeln!(log, "{line}")?;
            if let Some(step) = line.strip_prefix("step passed: ") {
                say(format_args!("wireguard-kernel: {step}"));
                passed += 1;
            } else if let Some(step) = line.strip_prefix("step failed: ") {
                failed.push(step.to_owned());
            } else if line == END {
                return Ok((passed, failed));
            }
        }
        Err(Failure::new("the machine ended before its steps; see its log"))
    };
    let (passed, failed) = timeout(PATIENCE, listen).await??;
    ensure(failed.is_empty(), failed.join("; "))?;
    ensure(passed > 0, "the machine did no step")
}
