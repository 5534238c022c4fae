//! `cargo bench -p terminal-proxy`: what the proxy costs, beside nginx and beside no proxy at all.
//!
//! One device, one client, and between them nothing, nginx as plain WebSocket proxy, or this library in a process
//! of its own (file database, login check, audit). All of them share the first processor, because times across two
//! jump by a factor of ten; only recordings are made and new sessions are opened on both, and there nginx has as many
//! workers as the library has. Each figure is the median of interleaved rounds.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints figures, and stops at its first surprise"
)]

mod client;
mod device;
mod genuine;
mod measure;
mod peers;
mod process;
mod proxy;
mod report;

use std::process::Command;

use mimalloc::MiMalloc;

use crate::genuine::Genuine;
use crate::peers::{Peer, Stage};
use crate::report::Report;

/// The program's own.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Rounds of everything that takes a second or so.
const ROUNDS: usize = 5;

/// The wire sizes that output comes in; ttyd's own are at most 4 KiB.
const MESSAGE_SIZES: [usize; 3] = [1024, 4096, 65536];

/// How many open terminals at the same time. What waits for the disk is fastest with many, what does not with few, and
/// each is judged by its best.
const OPENERS: [usize; 3] = [16, 64, 128];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (first, rest) = arguments
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    match first {
        "device" => device::serve(),
        "proxy" => proxy::serve(&rest[0]),
        "compare" => compare(rest),
        // `cargo test --benches` leaves `--bench` out.
        _ if arguments.iter().any(|it| it == "--bench") => compare_on_first_processor(&arguments),
        _ => println!("cargo bench -p terminal-proxy [-- NAME...], with names of {NAMES:?}"),
    }
}

/// Starts this program again, with all the file descriptors it may have and on one processor.
fn compare_on_first_processor(arguments: &[String]) {
    let status = Command::new("sh")
        .arg("-c")
        .arg(r#"ulimit -n "$(ulimit -Hn)" && exec taskset -c 0 "$0" compare "$@""#)
        .arg(std::env::current_exe().unwrap())
        .args(arguments.iter().filter(|it| *it != "--bench"))
        .status()
        .unwrap();
    assert!(status.success(), "the comparison failed");
}

/// What can be measured alone.
const NAMES: [&str; 6] = ["bulk", "recording", "keys", "idle", "slow", "new"];

fn compare(names: &[String]) {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|it| it == name);
    let stage = Stage::new();
    let peers = Stage::peers();
    let proxies: Vec<Peer> = peers.iter().copied().filter(|peer| *peer != Peer::Direct).collect();
    let mut report = Report::new(&peers);
    println!("Every process on processor 0, unless said otherwise. Proxy: this library in a process of its own.");
    if !peers.contains(&Peer::Nginx) {
        println!("NGINX IS NOT INSTALLED (apt-get install nginx): nothing to compare with.");
    }
    for size in MESSAGE_SIZES.into_iter().filter(|_| wanted("bulk")) {
        report.bulk(
            size,
            &measure::rounds(&peers, ROUNDS, |peer| measure::bulk(&stage, peer, size)),
        );
    }
    if wanted("recording") {
        recording(&stage, &mut report);
    }
    if wanted("keys") {
        let alone = measure::rounds(&peers, ROUNDS, |peer| measure::round_trip(&stage, peer, false));
        report.round_trip("alone", &alone);
        let flooded = measure::rounds(&peers, ROUNDS, |peer| measure::round_trip(&stage, peer, true));
        report.round_trip("flooded", &flooded);
    }
    if wanted("idle") {
        report.idle(&measure::rounds(&proxies, 1, |peer| measure::idle(&stage, peer)));
    }
    if wanted("slow") {
        report.slow_reader(&measure::rounds(&proxies, 1, |peer| measure::slow_reader(&stage, peer)));
    }
    if wanted("new") {
        report.new_sessions(&OPENERS.map(|openers| {
            let opening = |peer| measure::new_sessions(&stage, peer, openers);
            (openers, measure::rounds(&peers, 3, opening))
        }));
    }
    report.verdict();
}

/// By the genuine ttyd, whose terminal is what people have; and by a device that is never at a loss for output, where
/// nothing else takes any time.
fn recording(stage: &Stage, report: &mut Report) {
    let two = [Peer::Proxy, Peer::Recorded];
    let endless = measure::rounds(&two, ROUNDS, |peer| measure::recorded_bulk(stage, peer));
    let Some(ttyd) = Genuine::start() else {
        println!("\nTTYD IS NOT INSTALLED (tests/real/run ttyd): recording is judged by output without end.");
        report.recording("messages of 4 KiB without end", &endless, true);
        return;
    };
    report.recording("messages of 4 KiB without end", &endless, false);
    let genuine = measure::rounds(&two, ROUNDS, |peer| genuine::shown(stage, &ttyd, peer));
    report.recording("what the genuine ttyd shows", &genuine, true);
}
