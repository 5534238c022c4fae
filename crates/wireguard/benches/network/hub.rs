use std::time::{Duration, Instant};

use wireguard::Hub as _;

use crate::stage::{Stage, daemon, memory, peers, raw};
use crate::{milliseconds, quantiles};

/// How many peers are added one by one at each size.
const SAMPLES: u32 = 200;
const SIZES: [u32; 4] = [1, 1000, 10_000, 60_000];
const BATCH: usize = 1000;

/// Adds one peer more at several sizes, beside what the daemon itself takes for it; then all at once.
pub(crate) async fn measure(largest: u32) {
    let stage = Stage::build().await;
    let hub = stage.hub();
    println!("one peer more: p50 and p99 in ms; `ours` is what is left of the whole without the daemon's part");
    println!(
        "{:>7} {:>17} {:>17} {:>8} {:>9}",
        "peers", "whole", "daemon", "ours p50", "list"
    );
    let (mut present, mut first) = (0, None);
    for size in SIZES.into_iter().filter(|size| *size <= largest) {
        for batch in peers(present, size.saturating_sub(present + 1)).chunks(BATCH) {
            hub.ensure_peers(batch).await.unwrap();
        }
        present = present.max(size - 1);
        let (whole, alone) = one_more(&stage, present).await;
        let began = Instant::now();
        hub.peers().await.unwrap();
        let list = began.elapsed();
        let ours = whole.0.saturating_sub(alone.0);
        println!(
            "{size:>7} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>9.1}",
            milliseconds(whole.0),
            milliseconds(whole.1),
            milliseconds(alone.0),
            milliseconds(alone.1),
            milliseconds(ours),
            milliseconds(list),
        );
        let first = *first.get_or_insert(ours);
        if size == largest {
            println!("one more at {size} costs {:.2} times the first", ratio(ours, first));
        }
    }
    println!(
        "memory with {largest} peers: daemon {} MB, we {} MB",
        memory(&daemon().await),
        memory("self")
    );
    drop((hub, stage));

    let stage = Stage::build().await;
    let all = peers(0, largest);
    let began = Instant::now();
    stage.hub().ensure_peers(&all).await.unwrap();
    println!("{largest} peers in one batch: {:.1} s", began.elapsed().as_secs_f64());
}

/// The daemon's own cost is measured between: the same peer, without us, and with as many readings as we make.
async fn one_more(stage: &Stage, present: u32) -> ((Duration, Duration), (Duration, Duration)) {
    let hub = stage.hub();
    let (mut whole, mut alone) = (Vec::new(), Vec::new());
    for peer in peers(present, SAMPLES) {
        let began = Instant::now();
        hub.ensure_peers(&[peer]).await.unwrap();
        whole.push(began.elapsed());
        hub.remove_peers(&[peer.key]).await.unwrap();

        let added = raw::add(&[peer]);
        // Up to a thousand peers a change is read back.
        alone.push(if present <= 1000 { added + raw::read() } else { added });
        raw::remove(&[peer]);
    }
    (quantiles(whole), quantiles(alone))
}

fn ratio(time: Duration, first: Duration) -> f64 {
    time.as_secs_f64() / first.as_secs_f64()
}
