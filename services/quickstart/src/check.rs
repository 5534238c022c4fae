//! `--check`: the newcomer's minute without a browser, and the end of a device's life.

use std::error::Error;
use std::fs;
use std::time::Instant;

use common::chassis::shutdown::Shutdown;
use common::domain::DeviceId;
use device::agent::RunningDevice;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;

use crate::config::Config;
use crate::data::DataFolder;
use crate::fleet::{AT_ONCE, Fleet};
use crate::operator::{Operator, OperatorError};
use crate::platform::Platform;
use crate::progress::{Progress, say};

/// What the shell is asked; its echo does not contain the answer.
const COMMAND: &str = "echo $((6*7))-ran";
const ANSWER: &str = "42-ran";

/// Something answered, and not what it should.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("the terminal of a decommissioned device was opened")]
    StillOpen,
    #[error("the terminal of a decommissioned device was refused with {0} instead of 404")]
    RefusedOtherwise(StatusCode),
    #[error("decommissioning answered {0}")]
    NotRetired(serde_json::Value),
}

/// Walks the path and says how long each step took.
pub(crate) async fn run(
    config: &Config,
    platform: &Platform,
    data: &DataFolder,
    shutdown: &Shutdown,
    progress: &mut Progress,
) -> Result<(), Box<dyn Error>> {
    let operator = platform.log_in().await?;
    progress.done("logged in", "authorization code with PKCE");
    let fleet = Fleet {
        platform,
        data,
        operator: &operator,
        shutdown,
    };
    let devices = fleet.start(config.devices, progress).await?;
    if let Some((first, others)) = devices.split_first() {
        open(&operator, first.id(), progress).await?;
        open_all(&operator, others, progress).await?;
        decommission(&operator, first.id(), progress).await?;
    }
    let (seconds, memory) = (progress.elapsed().as_secs_f64(), peak_memory_megabytes());
    say(format_args!(
        "check passed in {seconds:.3} s, at most {memory} MB of memory"
    ));
    Ok(())
}

async fn open(operator: &Operator, id: &DeviceId, progress: &mut Progress) -> Result<(), Box<dyn Error>> {
    let asked = Instant::now();
    let mut terminal = operator.open_terminal(id).await?;
    terminal.wait_for_output().await?;
    progress.done(
        "shell",
        format_args!("{id}: first byte {} ms after the ticket", asked.elapsed().as_millis()),
    );
    terminal.run(COMMAND, ANSWER).await?;
    progress.done("command", format_args!("{id} ran it and its output came back"));
    Ok(terminal.leave().await?)
}

async fn open_all(
    operator: &Operator,
    devices: &[RunningDevice],
    progress: &mut Progress,
) -> Result<(), Box<dyn Error>> {
    let shells = devices.iter().map(|device| async {
        let mut terminal = operator.open_terminal(device.id()).await?;
        terminal.run(COMMAND, ANSWER).await?;
        terminal.leave().await
    });
    stream::iter(shells)
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    if !devices.is_empty() {
        progress.done("fleet", format_args!("{} more devices ran it", devices.len()));
    }
    Ok(())
}

async fn decommission(operator: &Operator, id: &DeviceId, progress: &mut Progress) -> Result<(), Box<dyn Error>> {
    let answer = operator.decommission(id).await?;
    if answer["state"] != "retired" {
        return Err(CheckError::NotRetired(answer).into());
    }
    progress.done("retired", format_args!("{id}: {}", answer["systems"]));
    match operator.open_terminal(id).await {
        Ok(_) => Err(CheckError::StillOpen.into()),
        Err(OperatorError::Refused {
            status: StatusCode::NOT_FOUND,
            problem,
        }) => {
            progress.done("refused", format_args!("{id}: 404 {problem}"));
            Ok(())
        }
        Err(OperatorError::Refused { status, .. }) => Err(CheckError::RefusedOtherwise(status).into()),
        Err(other) => Err(other.into()),
    }
}

/// The most memory that this process ever held (`VmHWM` of proc(5)), in units of 10^6 bytes.
fn peak_memory_megabytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap_or_default();
    (kibibytes * 1024).div_ceil(1_000_000)
}
