//! What the device network costs: a peer more among 1 to 60,000, all of them at once, listing and bringing them in line,
//! and an address more out of a /16.
//!
//! `cargo bench -p wireguard -- [--peers 60000] [--database postgres://…]`. The hub is the real one, over `wireguard-go` in
//! a network namespace of its own, so it takes root; `--only addresses` does not.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench prints, and stops at its first surprise"
)]

mod addresses;
mod hub;
mod reconcile;
mod stage;

use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use clap::{Parser, ValueEnum};

#[derive(Parser)]
struct Arguments {
    /// The largest network.
    #[arg(long, default_value_t = 60_000)]
    peers: u32,
    /// A PostgreSQL database to measure beside SQLite.
    #[arg(long)]
    database: Option<String>,
    /// Only this part.
    #[arg(long)]
    only: Option<Part>,
    /// The process has a network of its own by now.
    #[arg(long, hide = true)]
    inside: bool,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Hub,
    Reconcile,
    Addresses,
}

fn main() {
    let arguments = Arguments::parse();
    let needs_network = arguments.only != Some(Part::Addresses);
    if needs_network && !arguments.inside {
        let mut command = std::process::Command::new("unshare");
        command.arg("--net").arg(std::env::current_exe().unwrap());
        let error = command.args(std::env::args_os().skip(1)).arg("--inside").exec();
        panic!("a network of our own cannot be had: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(&arguments));
}

async fn measure(arguments: &Arguments) {
    let is_chosen = |part| arguments.only.is_none_or(|only| only == part);
    if is_chosen(Part::Hub) {
        hub::measure(arguments.peers).await;
    }
    if is_chosen(Part::Reconcile) {
        reconcile::measure(10_000.min(arguments.peers)).await;
    }
    if is_chosen(Part::Addresses) {
        addresses::measure("SQLite", None).await;
        if let Some(url) = &arguments.database {
            addresses::measure("PostgreSQL", Some(url)).await;
        }
    }
}

/// The middle and the worst hundredth of some times.
fn quantiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
