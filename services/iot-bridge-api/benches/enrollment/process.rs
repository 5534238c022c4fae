//! Programs that run beside the bench and end with it.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

pub(crate) struct Process(Child);

impl Process {
    /// Starts a server and waits until something listens on its port.
    pub(crate) fn start(mut command: Command, log: &Path, port: u16) -> Self {
        let output = File::create(log).unwrap();
        let command = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap());
        let mut process = Self(command.stderr(output).spawn().unwrap());
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return process;
            }
            assert!(process.0.try_wait().unwrap().is_none(), "it ended: {}", said(log));
            sleep(Duration::from_millis(100));
        }
        panic!("nothing listens on its port: {}", said(log));
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn said(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap()
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn printed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
