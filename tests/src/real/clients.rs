//! Other people's clients, in Python.

use tokio::process::Command;

use super::step_ca::printed;
use crate::failure::Failure;
use crate::stage::{Stage, project};

/// Runs a program of `tests/real/clients` to its end.
pub(crate) async fn run(stage: &Stage, program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let python = stage.installed("clients")?.join("bin/python3");
    let mut command = Command::new(python);
    command.arg(project("tests/real/clients").join(program)).args(arguments);
    printed(command).await.map(drop)
}
