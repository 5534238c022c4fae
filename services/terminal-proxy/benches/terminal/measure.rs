//! What is measured.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Terminal;
use crate::device::{drain, flood_bytes};
use crate::peers::{Peer, Running, Stage};
use crate::process::{BothProcessors, Process};

/// Output of one bulk round.
const BULK_BYTES: u32 = 1 << 30;

/// Keystrokes of one round.
const KEYSTROKES: usize = 10_000;

/// Keystrokes of one round with a flooding neighbour, when each may take a millisecond.
const FLOODED_KEYSTROKES: usize = 1_000;

/// Open terminals in which nothing happens.
const IDLE_SESSIONS: usize = 1_000;

/// For how long clients open terminals.
const OPENING: Duration = Duration::from_secs(4);

/// Runs one after the other, again and again, so that a slow minute of the machine is everybody's.
pub(crate) fn rounds<T>(peers: &[Peer], rounds: usize, measure: impl Fn(Peer) -> T) -> Vec<(Peer, Vec<T>)> {
    let mut all: Vec<(Peer, Vec<T>)> = peers.iter().map(|peer| (*peer, Vec::new())).collect();
    for _ in 0..rounds {
        for (peer, measured) in &mut all {
            measured.push(measure(*peer));
        }
    }
    all
}

/// A bulk round: MiB per second, and processor seconds of the proxy per GiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bulk {
    pub(crate) mib_per_second: f64,
    pub(crate) cpu_seconds_per_gib: f64,
}

pub(crate) fn bulk(stage: &Stage, peer: Peer, size: usize) -> Bulk {
    let running = stage.start(peer);
    let mut terminal = Terminal::open(&running.door);
    let count = BULK_BYTES as usize / size;
    warm_up(&mut terminal, size);
    let (began, cpu) = (Instant::now(), cpu(&running));
    terminal.order(size, count);
    drain(&mut terminal.stream, flood_bytes(size, count));
    let gib = f64::from(BULK_BYTES) / f64::from(1 << 30);
    Bulk {
        mib_per_second: gib * 1024.0 / began.elapsed().as_secs_f64(),
        cpu_seconds_per_gib: self::cpu(&running).saturating_sub(cpu).as_secs_f64() / gib,
    }
}

/// Output of one round of the recording: as much as a person reads in a working life.
const RECORDED_BYTES: u32 = 1 << 28;

/// A bulk round of ttyd's usual messages on both processors, as recordings are written beside the session.
pub(crate) fn recorded_bulk(stage: &Stage, peer: Peer) -> Bulk {
    const SIZE: usize = 4096;
    let _both = BothProcessors::with(&stage.device);
    let running = stage.start(peer);
    let mut terminal = Terminal::open(&running.door);
    let count = RECORDED_BYTES as usize / SIZE;
    warm_up(&mut terminal, SIZE);
    let (began, cpu) = (Instant::now(), cpu(&running));
    terminal.order(SIZE, count);
    drain(&mut terminal.stream, flood_bytes(SIZE, count));
    let gib = f64::from(RECORDED_BYTES) / f64::from(1 << 30);
    Bulk {
        mib_per_second: gib * 1024.0 / began.elapsed().as_secs_f64(),
        cpu_seconds_per_gib: self::cpu(&running).saturating_sub(cpu).as_secs_f64() / gib,
    }
}

/// Times of single keystrokes, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoundTrip {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

pub(crate) fn round_trip(stage: &Stage, peer: Peer, flooded: bool) -> RoundTrip {
    let running = stage.start(peer);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        if flooded {
            scope.spawn(|| flood(&running, &stop));
        }
        let mut terminal = Terminal::open(&running.door);
        for _ in 0..200 {
            terminal.echo();
        }
        let keystrokes = if flooded { FLOODED_KEYSTROKES } else { KEYSTROKES };
        let mut times: Vec<Duration> = Vec::with_capacity(keystrokes);
        for _ in 0..keystrokes {
            let began = Instant::now();
            terminal.echo();
            times.push(began.elapsed());
        }
        stop.store(true, Ordering::Relaxed);
        times.sort_unstable();
        let micros = |index: usize| times[index].as_secs_f64() * 1e6;
        RoundTrip {
            p50: micros(keystrokes / 2),
            p99: micros(keystrokes * 99 / 100),
        }
    })
}

/// The neighbour: 4 KiB messages without end.
fn flood(running: &Running, stop: &AtomicBool) {
    let mut terminal = Terminal::open(&running.door);
    while !stop.load(Ordering::Relaxed) {
        terminal.order(4096, 4096);
        drain(&mut terminal.stream, flood_bytes(4096, 4096));
    }
}

/// How much memory the proxy has more with a thousand idle sessions, in MiB.
pub(crate) fn idle(stage: &Stage, peer: Peer) -> f64 {
    let running = stage.start(peer);
    let process = running.process.as_ref().expect("a proxy is a process");
    let before = process.resident();
    let mut sessions: Vec<Terminal> = (0..IDLE_SESSIONS).map(|_| Terminal::open(&running.door)).collect();
    for session in &mut sessions {
        session.echo();
    }
    process.resident() - before
}

/// How much memory the proxy has more at most while a client does not read for 5 s, in MiB.
pub(crate) fn slow_reader(stage: &Stage, peer: Peer) -> f64 {
    let running = stage.start(peer);
    let process = running.process.as_ref().expect("a proxy is a process");
    let mut terminal = Terminal::open(&running.door);
    warm_up(&mut terminal, 4096);
    let before = process.resident();
    terminal.order(4096, 65_536);
    let looks = (0..50).map(|_| {
        thread::sleep(Duration::from_millis(100));
        process.resident() - before
    });
    let most = looks.fold(0.0, f64::max);
    drain(&mut terminal.stream, flood_bytes(4096, 65_536));
    most
}

/// New sessions per second, and what one costs the proxy, in microseconds of a processor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) per_second: f64,
    pub(crate) cpu_micros: f64,
}

/// So many clients open terminals, each on a device of its own, and leave them, on both processors.
pub(crate) fn new_sessions(stage: &Stage, peer: Peer, openers: usize) -> Opening {
    let _both = BothProcessors::with(&stage.device);
    let running = stage.start(peer);
    let opened = AtomicU32::new(0);
    let (began, cpu) = (Instant::now(), cpu(&running));
    thread::scope(|scope| {
        for opener in 0..openers {
            let (running, opened) = (&running, &opened);
            scope.spawn(move || {
                while began.elapsed() < OPENING {
                    drop(Terminal::open_on(&running.door, opener));
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let opened = f64::from(opened.into_inner());
    Opening {
        per_second: opened / began.elapsed().as_secs_f64(),
        cpu_micros: self::cpu(&running).saturating_sub(cpu).as_secs_f64() * 1e6 / opened,
    }
}

fn warm_up(terminal: &mut Terminal, size: usize) {
    let count = (BULK_BYTES as usize / 16 / size).max(1);
    terminal.order(size, count);
    drain(&mut terminal.stream, flood_bytes(size, count));
}

fn cpu(running: &Running) -> Duration {
    running.process.as_ref().map_or(Duration::ZERO, Process::cpu)
}
