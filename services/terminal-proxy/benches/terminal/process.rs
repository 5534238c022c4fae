//! Processes, and what Linux knows about them.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A process that ends when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts this program in another role; returns what it says first.
    pub(crate) fn role(arguments: &[&str]) -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        (Self { child }, line.trim().to_owned())
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        Self { child }
    }

    /// Lets it run on these processors.
    pub(crate) fn keep_on(&self, processors: &str) {
        keep_on(processors, self.child.id());
    }

    /// Processor time of all its threads so far, and of all threads of its children.
    pub(crate) fn cpu(&self) -> Duration {
        let of_family = self.children().chain([self.child.id()]);
        let threads = of_family.flat_map(|id| fs::read_dir(format!("/proc/{id}/task")).unwrap());
        let times = threads.map(|thread| {
            let text = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
        });
        Duration::from_nanos(times.sum())
    }

    /// The workers of nginx, on more than one processor.
    fn children(&self) -> impl Iterator<Item = u32> + use<> {
        let id = self.child.id();
        let list = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let children: Vec<u32> = list.split_whitespace().filter_map(|id| id.parse().ok()).collect();
        children.into_iter()
    }

    /// Resident memory, in MiB.
    pub(crate) fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let children = self.children();
        self.child.kill().unwrap();
        for child in children {
            let child = Pid::from_raw(child.cast_signed()).expect("it has a number");
            // It may have ended with its parent.
            kill_process(child, Signal::KILL).unwrap_or_default();
        }
        self.child.wait().unwrap();
    }
}

/// Both processors for the bench, for the device, and for whatever is started meanwhile, which has as many workers; then
/// the first one again.
pub(crate) struct BothProcessors<'stage>(&'stage Process);

impl<'stage> BothProcessors<'stage> {
    pub(crate) fn with(device: &'stage Process) -> Self {
        device.keep_on("0,1");
        keep_on("0,1", std::process::id());
        Self(device)
    }
}

impl Drop for BothProcessors<'_> {
    fn drop(&mut self) {
        self.0.keep_on("0");
        keep_on("0", std::process::id());
    }
}

/// Keeps the first thread there, and whatever it starts from now on.
fn keep_on(processors: &str, id: u32) {
    let status = Command::new("taskset")
        .args(["--cpu-list", "--pid", processors, &id.to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}
