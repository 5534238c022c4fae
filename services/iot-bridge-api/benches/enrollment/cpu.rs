//! Where the time of the processors goes: on a small machine the sum over all processes is what bounds the rate.

use std::fs;
use std::time::Duration;

/// The kernel counts in hundredths of a second (`USER_HZ`) on every machine that Linux runs on.
const TICK: Duration = Duration::from_millis(10);

/// A process, by its number; what its children use is its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) pid: u32,
}

impl Program {
    pub(crate) fn this() -> Self {
        Self {
            name: "load",
            pid: std::process::id(),
        }
    }

    /// What it and its children have used so far.
    fn used(self) -> Duration {
        let processes: Vec<Usage> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| Usage::read(&entry.ok()?.file_name().into_string().ok()?))
            .collect();
        let is_part = |usage: &&Usage| usage.pid == self.pid || (self.name != "load" && usage.parent == self.pid);
        let ticks: u32 = processes.iter().filter(is_part).map(|usage| usage.ticks).sum();
        TICK * ticks
    }
}

/// What programs used while something was measured.
pub(crate) struct Meter(Vec<(Program, Duration)>);

impl Meter {
    pub(crate) fn start(programs: &[Program]) -> Self {
        Self(programs.iter().map(|program| (*program, program.used())).collect())
    }

    pub(crate) fn stop(self) -> Vec<(&'static str, Duration)> {
        let used = |(program, before): (Program, Duration)| (program.name, program.used().saturating_sub(before));
        self.0.into_iter().map(used).collect()
    }
}

struct Usage {
    pid: u32,
    parent: u32,
    ticks: u32,
}

impl Usage {
    /// Reads `/proc/PID/stat` (proc(5)); the name in parentheses may have anything in it.
    fn read(pid: &str) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u32>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            parent: number(4)?,
            // Its own time in user and kernel mode, and that of its children which have ended.
            ticks: (14..=17).map(number).sum::<Option<u32>>()?,
        })
    }
}
