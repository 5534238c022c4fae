//! Thousands who never finish what they begin, and one person who works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::chassis::shutdown::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use super::client::Person;
use super::percentile;
use super::proxies::Ground;
use crate::failure::{Failure, ensure};
use crate::stage::{Stage, say};

const ALL: usize = 5000;
const SOME: usize = 500;

/// One in so many has a terminal, orders output without end, and does not read it.
const NOT_READING: usize = 50;

/// How often the person opens a terminal and types meanwhile.
const VISITS: usize = 60;

/// What a visit may take: terminal, prompt, key and echo.
const BOUND: Duration = Duration::from_secs(1);

/// How long the crowd may need to come together.
const CROWD: Duration = Duration::from_mins(2);

pub(crate) async fn play(stage: &Stage) -> Result<(), Failure> {
    let clients = if stage.is_full { ALL } else { SOME };
    let ground = stage
        .step("a database, an issuer and a device", Ground::prepare(stage))
        .await?;
    let proxy = stage.step("the proxy starts", ground.proxy("proxy-1")).await?;
    let before = proxy.resident_mib()?;
    let crowd = Shutdown::new();
    let name = format!("{clients} clients stall");
    stage
        .step(&name, stall(&ground, &crowd, proxy.address, clients))
        .await?;
    let visited = stage
        .step(
            "a person works among them",
            visit(&ground, proxy.address, stage.is_full),
        )
        .await;
    say(format_args!(
        "  memory: {before} MiB before, {} MiB with the crowd",
        proxy.resident_mib()?
    ));
    crowd.end();
    crowd.finish(Duration::from_secs(5)).await;
    visited?;
    stage
        .step(
            "every record is closed, and the audit chain holds",
            ground.all_records_are_closed(),
        )
        .await
}

async fn stall(ground: &Ground, crowd: &Shutdown, address: SocketAddr, clients: usize) -> Result<(), Failure> {
    let here = Arc::new(AtomicUsize::new(0));
    for client in 0..clients {
        let (here, end, token) = (Arc::clone(&here), crowd.hard_token(), ground.token());
        drop(crowd.spawn(async move {
            let stalled = async {
                if client % NOT_READING == 0 {
                    reads_nothing(address, &token, &here).await
                } else {
                    never_finishes(address, &here).await
                }
            };
            end.run_until_cancelled(stalled).await
        }));
    }
    let all_here = async {
        let mut looks = interval(Duration::from_millis(50));
        while here.load(Ordering::Relaxed) < clients {
            looks.tick().await;
        }
    };
    timeout(CROWD, all_here).await?;
    Ok(())
}

/// Begins a request and never ends it; comes again when it is thrown out.
async fn never_finishes(address: SocketAddr, here: &AtomicUsize) -> Result<(), Failure> {
    let mut is_first = true;
    loop {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET /terminal/pump-1 HTTP/1.1\r\nHost: ").await?;
        here.fetch_add(usize::from(std::mem::take(&mut is_first)), Ordering::Relaxed);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
    }
}

async fn reads_nothing(address: SocketAddr, token: &str, here: &AtomicUsize) -> Result<(), Failure> {
    let mut person = Person::open(address, token).await?;
    person.say(b"0flood").await?;
    here.fetch_add(1, Ordering::Relaxed);
    std::future::pending().await
}

async fn visit(ground: &Ground, address: SocketAddr, is_full: bool) -> Result<(), Failure> {
    let mut took = Vec::new();
    for _ in 0..VISITS {
        let token = ground.token();
        let began = Instant::now();
        let mut person = Person::open(address, &token).await?;
        person.echo().await?;
        took.push(began.elapsed());
        person.exit().await?;
    }
    took.sort_unstable();
    let longest = percentile(&took, 100);
    say(format_args!(
        "  terminal, prompt, key and echo: p50 {:?}, p99 {:?}, longest {longest:?}",
        percentile(&took, 50),
        percentile(&took, 99),
    ));
    // The small form shows that it works; how fast is for a machine of its own.
    ensure(!is_full || longest <= BOUND, format_args!("a visit took {longest:?}"))
}
