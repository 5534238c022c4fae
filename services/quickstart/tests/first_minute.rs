//! The built program, as a newcomer runs it.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

#[test]
fn the_check_walks_the_whole_path_and_passes() {
    let output = quickstart(&["--check"]).output().unwrap();

    let text = passed(&output);
    for step in [
        "authority",
        "api",
        "proxy",
        "enrolled",
        "tunnel",
        "terminal",
        "shell",
        "command",
        "retired",
        "refused",
    ] {
        assert!(text.contains(&format!(" {step} ")), "no line for {step}:\n{text}");
    }
}

#[test]
fn a_second_start_with_the_same_data_finds_its_fleet() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();

    let first = passed(
        &quickstart(&["--check", "--devices", "2", "--data-dir", data])
            .output()
            .unwrap(),
    );
    let second = passed(
        &quickstart(&["--check", "--devices", "2", "--data-dir", data])
            .output()
            .unwrap(),
    );

    assert!(first.contains("demo-1 enrolled as 10.8.0.2"), "{first}");
    // The first start decommissioned demo-1; demo-2 comes back as it was, and a new device joins it.
    assert!(second.contains("demo-2 is enrolled, as 10.8.0.3"), "{second}");
    assert!(second.contains("1 more devices ran it"), "{second}");
}

#[test]
fn without_a_data_folder_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();

    passed(&quickstart(&["--check"]).env("TMPDIR", folder.path()).output().unwrap());

    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn every_listener_is_on_loopback_and_ctrl_c_ends_with_0() {
    let mut running = Running::start();

    let listeners = listeners(running.child.id());
    assert!(listeners.len() >= 4, "login, API, proxy and hub listen: {listeners:?}");
    assert!(listeners.iter().all(IpAddr::is_loopback), "{listeners:?}");

    let interrupted = Command::new("kill")
        .args(["-INT", &running.child.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let mut rest = String::new();
    running.output.read_to_string(&mut rest).unwrap();
    assert!(running.child.wait().unwrap().success(), "{rest}");
}

#[test]
fn a_bad_option_is_one_sentence_and_exit_code_78() {
    let output = quickstart(&["--devices", "0"]).output().unwrap();

    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--devices"));
}

#[test]
fn a_port_that_is_taken_is_named_with_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();

    let output = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .args(["--check", "--login-port", "0", "--proxy-port", "0", "--api-port", &port])
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("--api-port") && text.contains(&port), "{text}");
}

fn quickstart(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quickstart"));
    command
        .args(["--api-port", "0", "--proxy-port", "0", "--login-port", "0"])
        .args(arguments);
    command
}

fn passed(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("check passed in "), "{text}");
    text
}

/// A quickstart that is up.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start() -> Self {
        let mut child = quickstart(&[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("Ctrl-C ends it") {
            line.clear();
            assert_ne!(output.read_line(&mut line).unwrap(), 0, "it ended before it was up");
        }
        Self { child, output }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The local addresses of a process's listening TCP sockets and of its UDP sockets (proc(5), /proc/net/tcp).
fn listeners(process: u32) -> Vec<IpAddr> {
    let process = format!("/proc/{process}");
    let sockets: Vec<String> = fs::read_dir(format!("{process}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = Vec::new();
    for (table, states) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let text = fs::read_to_string(Path::new(&process).join("net").join(table)).unwrap();
        for row in text
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
        {
            if row[3] == states && sockets.iter().any(|inode| inode == row[9]) {
                found.push(address(row[1].split(':').next().unwrap()));
            }
        }
    }
    found
}

/// Reads an address as the kernel prints it: 32-bit words in hex, in the machine's byte order.
fn address(hex: &str) -> IpAddr {
    let words = hex
        .as_bytes()
        .chunks(8)
        .map(|word| u32::from_str_radix(std::str::from_utf8(word).unwrap(), 16).unwrap());
    let bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
    match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(four) => IpAddr::from(four),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).unwrap()),
    }
}
