//! The genuine ttyd, where `tests/real/run ttyd` has installed it: what a person's terminal can show at most.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::Terminal;
use crate::measure::Bulk;
use crate::peers::{Peer, Stage, free_port};
use crate::process::{BothProcessors, Process};

/// What a device shows in one round, before the terminal turns its line ends into two bytes.
const SHOWN_BYTES: usize = 1 << 27;

/// A page of it: a prompt, a log, a listing, with colours, quotation marks and characters of several bytes.
const PAGE: &str = "\x1b[1;32mada@pump-7\x1b[0m:\x1b[1;34m/var/log\x1b[0m$ journalctl --unit \"mqtt*\"\n\
    2026-03-01T18:00:52.123456+0000 pump-7 mqtt[417]: \x1b[33mWARN\x1b[0m  no answer, again in 3 s {\"attempt\":17}\n\
    2026-03-01T18:00:55.671020+0000 pump-7 mqtt[417]: \x1b[32mINFO\x1b[0m  connected, session continues\n\
    drwxr-xr-x  2 root root   4096 Mar  1 17:58 \x1b[01;34mconf.d\x1b[0m\n\
    -rw-r--r--  1 root root  28114 Mar  1 18:00 größe_°C_µs.csv\n\
    ├── \x1b[01;36mcurrent\x1b[0m -> /mnt/slot-a\tC:\\never\\here\n";

/// Starts it in its folder, in a mount namespace that ends with it: the folder, the port and the program follow.
const START: &str = r#"
mount --make-rprivate /
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$0/dev/pts"
mount --bind "$0/dev/pts/ptmx" "$0/dev/ptmx"
exec chroot "$0" ttyd -i lo -p "$1" -W sh -c "$2"
"#;

/// A ttyd that shows so much to whoever presses Enter, and ends.
pub(crate) struct Genuine {
    process: Process,
    pub(crate) port: u16,
    shown: PathBuf,
}

impl Genuine {
    /// None where it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let root = std::env::home_dir()?.join(".cache/iot-bridge-real/ttyd");
        if !root.join("usr/bin/ttyd").exists() {
            return None;
        }
        let name = format!("tmp/terminal-proxy-bench-{}", std::process::id());
        let shown = root.join(&name);
        fs::write(&shown, PAGE.repeat(SHOWN_BYTES / PAGE.len())).unwrap();
        let port = free_port();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-euc", START]).arg(root);
        command.args([&port.to_string(), &format!("read enter; cat /{name}")]);
        let process = Process::start(command.stderr(Stdio::null()));
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            sleep(Duration::from_millis(20));
        }
        Some(Self { process, port, shown })
    }
}

impl Drop for Genuine {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.shown));
    }
}

/// Everything that ttyd shows, on both processors.
pub(crate) fn shown(stage: &Stage, ttyd: &Genuine, peer: Peer) -> Bulk {
    let _both = BothProcessors::with(&ttyd.process);
    let running = stage.start_before(peer, ttyd.port);
    let proxy = running.process.as_ref().expect("a proxy is a process");
    let mut terminal = Terminal::open(&running.door);
    let (began, cpu) = (Instant::now(), proxy.cpu());
    terminal.say(b"0\n");
    let (mut bytes, mut buffer) = (0, vec![0; 256 * 1024]);
    loop {
        match terminal.stream.read(&mut buffer).unwrap() {
            0 => break,
            read => bytes += read,
        }
    }
    assert!(bytes > SHOWN_BYTES * 99 / 100, "ttyd showed {bytes} bytes");
    #[expect(clippy::cast_precision_loss, reason = "a fraction of a GiB")]
    let gib = bytes as f64 / f64::from(1 << 30);
    Bulk {
        mib_per_second: gib * 1024.0 / began.elapsed().as_secs_f64(),
        cpu_seconds_per_gib: proxy.cpu().saturating_sub(cpu).as_secs_f64() / gib,
    }
}
