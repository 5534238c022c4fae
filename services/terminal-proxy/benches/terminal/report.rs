//! The figures, and whether they are what was promised.

use crate::measure::{Bulk, Opening, RoundTrip};
use crate::peers::Peer;

type Rounds<T> = [(Peer, Vec<T>)];
type Measured<T> = Vec<(Peer, Vec<T>)>;

/// Prints as it goes, and keeps what missed its bound.
pub(crate) struct Report {
    has_nginx: bool,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn new(peers: &[Peer]) -> Self {
        Self {
            has_nginx: peers.contains(&Peer::Nginx),
            missed: Vec::new(),
        }
    }

    pub(crate) fn bulk(&mut self, size: usize, rounds: &Rounds<Bulk>) {
        println!(
            "\nOutput in messages of {} KiB, MiB/s and processor seconds of the proxy per GiB",
            size / 1024
        );
        let speed = table("MiB/s", rounds, |round| round.mib_per_second);
        let cpu = table("s/GiB", rounds, |round| round.cpu_seconds_per_gib);
        self.at_least(&format!("output in {size}-byte messages"), speed, 1.0);
        self.at_most(&format!("processor time, {size}-byte messages"), cpu, 0.7);
    }

    pub(crate) fn recording(&mut self, what: &str, rounds: &Rounds<Bulk>, is_judged: bool) {
        println!("\nRecorded and not, on two processors: {what}");
        table("MiB/s", rounds, |round| round.mib_per_second);
        table("s/GiB", rounds, |round| round.cpu_seconds_per_gib);
        let speed = |wanted| {
            let rounds = rounds.iter().find(|(peer, _)| *peer == wanted);
            median(
                rounds
                    .expect("it was measured")
                    .1
                    .iter()
                    .map(|round| round.mib_per_second),
            )
        };
        let kept = speed(Peer::Recorded) / speed(Peer::Proxy);
        println!("  recording costs {:.0} % of the throughput", (1.0 - kept) * 100.0);
        if is_judged && kept < 0.75 {
            self.missed
                .push(format!("recording: {kept:.2} of the throughput without, at least 0.75"));
        }
    }

    pub(crate) fn round_trip(&mut self, how: &str, rounds: &Rounds<RoundTrip>) {
        println!("\nKeystroke and echo, {how}, µs");
        let p50 = table("p50", rounds, |round| round.p50);
        let p99 = table("p99", rounds, |round| round.p99);
        if how == "alone" {
            self.at_most("round trip p50", p50, 1.1);
        } else {
            self.at_most("round trip p99 with a flooding neighbour", p99, 1.0);
        }
    }

    pub(crate) fn idle(&mut self, rounds: &Rounds<f64>) {
        println!("\n1,000 idle sessions, MiB over the process without sessions");
        table("MiB", rounds, |round| *round);
        self.below("1,000 idle sessions", rounds, 12.0);
    }

    pub(crate) fn slow_reader(&mut self, rounds: &Rounds<f64>) {
        println!("\nA client that does not read for 5 s while 256 MiB wait, MiB of growth");
        table("MiB", rounds, |round| *round);
        self.below("growth with a slow reader", rounds, 1.0);
    }

    /// Each peer is judged by the number of openers at which it is fastest.
    pub(crate) fn new_sessions(&mut self, by_openers: &[(usize, Measured<Opening>)]) {
        println!("\nNew sessions per second, and processor time of the proxy for one, on two processors");
        for (openers, rounds) in by_openers {
            println!("  {openers} at once");
            table("1/s", rounds, |round| round.per_second);
            table("µs", rounds, |round| round.cpu_micros);
        }
        let best = |wanted| {
            let of = |(_, rounds): &(usize, Measured<Opening>)| {
                let (_, rounds) = rounds.iter().find(|(peer, _)| *peer == wanted)?;
                Some(median(rounds.iter().map(|round| round.per_second)))
            };
            by_openers.iter().filter_map(of).max_by(f64::total_cmp)
        };
        let rate = best(Peer::Proxy)
            .zip(best(Peer::Nginx))
            .map(|(ours, nginx)| ours / nginx);
        if let Some(rate) = rate {
            println!("  each at its fastest: {rate:.2} × nginx");
        }
        self.at_least("new sessions", rate, 0.5);
    }

    pub(crate) fn verdict(&self) {
        println!();
        if !self.has_nginx {
            println!("Not compared with nginx.");
        }
        for missed in &self.missed {
            println!("MISSED: {missed}");
        }
        if self.missed.is_empty() {
            println!("Every bound is kept.");
        }
    }

    fn at_least(&mut self, what: &str, ratio: Option<f64>, bound: f64) {
        if let Some(ratio) = ratio.filter(|ratio| *ratio < bound) {
            self.missed
                .push(format!("{what}: {ratio:.2} × nginx, at least {bound:.1}"));
        }
    }

    fn at_most(&mut self, what: &str, ratio: Option<f64>, bound: f64) {
        if let Some(ratio) = ratio.filter(|ratio| *ratio > bound) {
            self.missed
                .push(format!("{what}: {ratio:.2} × nginx, at most {bound:.1}"));
        }
    }

    fn below(&mut self, what: &str, rounds: &Rounds<f64>, bound: f64) {
        let ours = rounds.iter().find(|(peer, _)| *peer == Peer::Proxy);
        let ours = median(ours.expect("the proxy is measured").1.iter().copied());
        if ours > bound {
            self.missed.push(format!("{what}: {ours:.1} MiB, at most {bound:.1}"));
        }
    }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Prints a row for each peer; returns ours as a multiple of nginx's.
fn table<T>(unit: &str, rounds: &Rounds<T>, figure: impl Fn(&T) -> f64) -> Option<f64> {
    let medians: Vec<(Peer, f64)> = rounds
        .iter()
        .map(|(peer, rounds)| (*peer, median(rounds.iter().map(&figure))))
        .collect();
    let of = |wanted| {
        medians
            .iter()
            .find(|(peer, _)| *peer == wanted)
            .map(|(_, median)| *median)
    };
    let nginx = of(Peer::Nginx);
    for (peer, median) in &medians {
        let ratio = nginx.filter(|nginx| *nginx > 0.0 && *peer != Peer::Nginx);
        let ratio = ratio.map(|nginx| format!("  {:5.2} × nginx", median / nginx));
        println!("  {:15} {median:9.2} {unit}{}", peer.name(), ratio.unwrap_or_default());
    }
    Some(of(Peer::Proxy)? / nginx?)
}
