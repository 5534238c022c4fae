//! What the bridge adds to a certificate: enrollments per second through the built program, beside `/1.0/sign` calls to
//! the same genuine step-ca with fresh one-time tokens.
//!
//! `cargo bench -p iot-bridge-api --bench enrollment`; `tests/real/run step-ca` installs step-ca before. The figures
//! come from interleaved rounds, because a disk is not as fast at noon as it was at eleven.
//!
//! They are taken twice. A device that enrolls was never there before: it makes a connection of its own, to step-ca as
//! to the bridge, and that is what the first table shows. In the second all devices share connections that are there,
//! so that what is left is the work behind them: the bridge's own cost, at its plainest.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program that prints figures, and stops at its first surprise"
)]

mod bridge;
mod client;
mod cpu;
mod load;
mod postgres;
mod process;
mod step_ca;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::bridge::Bridge;
use crate::client::Connections;
use crate::load::{Figures, Load};
use crate::postgres::Postgres;
use crate::step_ca::StepCa;

/// The least share of step-ca's own rate, with the database that a large fleet has and with the one inside.
const POSTGRES_BOUND: f64 = 0.7;
const SQLITE_BOUND: f64 = 0.5;

#[derive(Parser)]
struct Arguments {
    /// The folder that step-ca is installed in.
    #[arg(long, env = "IOT_BRIDGE_REAL_CACHE")]
    cache: Option<PathBuf>,
    /// The user's home.
    #[arg(long, env = "HOME", hide = true)]
    home: PathBuf,
    /// How many devices come at a time.
    #[arg(long, default_value_t = 128)]
    concurrency: usize,
    /// How many devices come in a round.
    #[arg(long, default_value_t = 1000)]
    devices: usize,
    /// How many rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let cache = arguments.cache.clone();
    let cache = cache.unwrap_or_else(|| arguments.home.join(".cache/iot-bridge-real"));
    let programs = cache.join("step-ca");
    if !programs.is_dir() {
        println!("STEP-CA IS NOT INSTALLED (`tests/real/run step-ca` does that): nothing to compare with.");
        return;
    }
    let authority = StepCa::start(&programs);
    let postgres = Postgres::start();
    if postgres.is_none() {
        println!("POSTGRESQL IS NOT INSTALLED (apt-get install postgresql): measured on SQLite alone.");
    }
    let bridges = Bridges {
        postgres: postgres
            .as_ref()
            .map(|postgres| (postgres, Bridge::start(&authority, Some(postgres)))),
        sqlite: Bridge::start(&authority, None),
    };
    let shares = compare(&arguments, Connections::Own, &authority, &bridges).await;
    compare(&arguments, Connections::Kept, &authority, &bridges).await;
    judge(shares);
}

/// The bridge on each database.
struct Bridges<'a> {
    postgres: Option<(&'a Postgres, Bridge)>,
    sqlite: Bridge,
}

/// Of step-ca's own rate, with each database.
struct Shares {
    postgres: Option<f64>,
    sqlite: f64,
}

async fn compare(arguments: &Arguments, connections: Connections, authority: &StepCa, bridges: &Bridges<'_>) -> Shares {
    let Arguments {
        concurrency,
        devices,
        rounds,
        ..
    } = *arguments;
    let (mut direct, mut with_postgres, mut with_sqlite) = Default::default();
    for round in 0..rounds {
        let load = Load::new(connections, round, devices, concurrency);
        load.direct(authority, &mut direct).await;
        if let Some((postgres, bridge)) = &bridges.postgres {
            let others = [postgres.program(), authority.program()];
            load.bridge(bridge, &others, &mut with_postgres).await;
        }
        load.bridge(&bridges.sqlite, &[authority.program()], &mut with_sqlite)
            .await;
    }
    println!("{rounds} rounds of {devices} devices, {concurrency} at a time, {connections}");
    println!("                          per second   of direct      p50      p99");
    row("step-ca alone, /1.0/sign", &mut direct, None);
    let alone = direct.per_second();
    if bridges.postgres.is_some() {
        row("enroll, PostgreSQL", &mut with_postgres, Some(alone));
    }
    row("enroll, SQLite", &mut with_sqlite, Some(alone));
    Shares {
        postgres: bridges.postgres.as_ref().map(|_| with_postgres.per_second() / alone),
        sqlite: with_sqlite.per_second() / alone,
    }
}

/// Says whether the bounds are kept; what was not measured keeps none.
fn judge(shares: Shares) {
    let bounds = [
        ("PostgreSQL", shares.postgres, POSTGRES_BOUND),
        ("SQLite", Some(shares.sqlite), SQLITE_BOUND),
    ];
    for (name, share, bound) in bounds {
        match share {
            Some(share) if share >= bound => println!("{name}: {share:.2} of direct, at least {bound:.1}: kept."),
            Some(share) => println!("{name}: {share:.2} OF DIRECT, AT LEAST {bound:.1}: MISSED."),
            None => println!("{name}: NOT MEASURED."),
        }
    }
}

fn row(name: &str, figures: &mut Figures, alone: Option<f64>) {
    let share = alone.map_or_else(String::new, |alone| format!("{:.2}", figures.per_second() / alone));
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    println!(
        "{name:<26}{:>10.1}{share:>12}{:>12}{:>10}",
        figures.per_second(),
        milliseconds(figures.percentile(50)),
        milliseconds(figures.percentile(99)),
    );
    let used: Vec<_> = figures
        .used()
        .map(|(program, time)| format!("{program} {:.2} ms", time.as_secs_f64() * 1000.0))
        .collect();
    println!("    processor time for each: {}", used.join(", "));
}
