//! A shift begins: session after session, none may fail.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::chassis::shutdown::Shutdown;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::client::Person;
use super::percentile;
use super::proxies::Ground;
use crate::failure::{Failure, ensure};
use crate::stage::{Stage, say};

/// 18,000 in half an hour.
const PER_SECOND: u32 = 10;
const ALL: u32 = 18_000;

/// What the gate has time for.
const SOME: u32 = 60;

/// How long a person stays.
const STAY: Duration = Duration::from_secs(20);
const SHORT_STAY: Duration = Duration::from_secs(2);

pub(crate) async fn play(stage: &Stage) -> Result<(), Failure> {
    let (sessions, stay) = if stage.is_full { (ALL, STAY) } else { (SOME, SHORT_STAY) };
    let ground = stage
        .step("a database, an issuer and a device", Ground::prepare(stage))
        .await?;
    let proxy = stage.step("the proxy starts", ground.proxy("proxy-1")).await?;
    let before = proxy.resident_mib()?;
    let name = format!("{sessions} sessions, {PER_SECOND} a second");
    stage
        .step(&name, open_all(&ground, proxy.address, sessions, stay))
        .await?;
    say(format_args!(
        "  memory: {before} MiB before, {} MiB after",
        proxy.resident_mib()?
    ));
    stage
        .step(
            "every record is closed, and the audit chain holds",
            ground.all_records_are_closed(),
        )
        .await
}

#[derive(Default)]
struct Outcome {
    opened: Vec<Duration>,
    failed: Vec<String>,
}

async fn open_all(
    ground: &Ground,
    address: std::net::SocketAddr,
    sessions: u32,
    stay: Duration,
) -> Result<(), Failure> {
    let people = Shutdown::new();
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let mut due = interval(Duration::from_secs(1) / PER_SECOND);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..sessions {
        due.tick().await;
        let (token, outcome) = (ground.token(), Arc::clone(&outcome));
        drop(people.spawn(async move {
            let result = work(address, &token, stay).await;
            let mut outcome = outcome.lock().expect("nobody panics");
            match result {
                Ok(took) => outcome.opened.push(took),
                Err(failure) => outcome.failed.push(failure.to_string()),
            }
        }));
    }
    people.finish(stay + Duration::from_mins(1)).await;
    let mut outcome = std::mem::take(&mut *outcome.lock().expect("nobody panics"));
    outcome.opened.sort_unstable();
    let opened = &outcome.opened;
    say(format_args!(
        "  {} opened and left, {} failed; to the prompt: p50 {:?}, p99 {:?}, longest {:?}",
        opened.len(),
        outcome.failed.len(),
        percentile(opened, 50),
        percentile(opened, 99),
        percentile(opened, 100),
    ));
    let first = outcome.failed.first();
    ensure(
        first.is_none() && opened.len() == sessions as usize,
        format_args!("{} failed, the first with: {first:?}", outcome.failed.len()),
    )
}

async fn work(address: std::net::SocketAddr, token: &str, stay: Duration) -> Result<Duration, Failure> {
    let began = Instant::now();
    let mut person = Person::open(address, token).await?;
    let took = began.elapsed();
    person.echo().await?;
    sleep(stay).await;
    person.echo().await?;
    person.exit().await?;
    Ok(took)
}
