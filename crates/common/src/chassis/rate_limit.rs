//! How often a client may be wrong.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::client_address::ClientAddress;
use super::problem::Problem;

/// Most clients remembered at once, in two generations of half this size.
const MAX_CLIENTS: usize = 10_000;

/// Counts failed credentials by client address: a bucket of attempts that refills evenly.
///
/// Only failures count, so that a fleet behind one address is not locked out by one bad device. An IPv6
/// client is its /64, which is what one customer usually has.
#[derive(Debug)]
pub struct FailureLimiter {
    window: Duration,
    refill_one: Duration,
    clients: Mutex<Clients>,
}

/// Two generations bound the memory without a search for the oldest: when the young one is full it
/// becomes the old one, and the old one, unused since, is forgotten.
#[derive(Debug, Default)]
struct Clients {
    young: HashMap<IpAddr, Instant>,
    old: HashMap<IpAddr, Instant>,
}

impl FailureLimiter {
    /// Allows `failures` (at least 1) in `window`, from each client.
    pub fn new(failures: u32, window: Duration) -> Self {
        Self {
            window,
            refill_one: window / failures.max(1),
            clients: Mutex::default(),
        }
    }

    /// Counts one failure. Returns `problem`, or 429 when the client has failed too often.
    pub fn refusal(&self, client: ClientAddress, problem: Problem) -> Problem {
        self.count_failure(client).err().unwrap_or(problem)
    }

    /// Counts one failure. The error is the 429 for a client that has failed too often.
    pub fn count_failure(&self, client: ClientAddress) -> Result<(), Problem> {
        self.count(client.0, Instant::now()).map_err(|wait| {
            tracing::warn!(client.address = %client.0, "Too many failed attempts");
            Problem::rate_limited(wait)
        })
    }

    /// The generic cell rate algorithm: one instant a client, at which its bucket is full again.
    fn count(&self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut clients = self.clients.lock().expect("nothing panics while it holds the lock");
        let full_at = clients.entry(bucket(client), now);
        let next = (*full_at).max(now) + self.refill_one;
        let ahead = next.saturating_duration_since(now);
        if ahead > self.window {
            return Err(ahead.saturating_sub(self.window));
        }
        *full_at = next;
        Ok(())
    }
}

impl Clients {
    fn entry(&mut self, client: IpAddr, now: Instant) -> &mut Instant {
        if !self.young.contains_key(&client) && self.young.len() >= MAX_CLIENTS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        let remembered = self.old.remove(&client).unwrap_or(now);
        self.young.entry(client).or_insert(remembered)
    }
}

fn bucket(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn the_fiftieth_failure_in_a_minute_passes_and_the_next_is_limited() {
        let limiter = FailureLimiter::new(50, MINUTE);
        let now = Instant::now();

        let passed = (0..60)
            .filter(|_| limiter.count(address("203.0.113.9"), now).is_ok())
            .count();

        assert_eq!(passed, 50);
        assert_eq!(limiter.count(address("203.0.113.9"), now), Err(MINUTE / 50));
        assert_eq!(limiter.count(address("203.0.113.10"), now), Ok(()));
    }

    #[test]
    fn a_refusal_turns_into_429_when_the_attempts_are_used_up() {
        let limiter = FailureLimiter::new(2, MINUTE);
        let client = ClientAddress(address("203.0.113.9"));

        let slugs: Vec<_> = (0..3)
            .map(|_| limiter.refusal(client, Problem::unauthenticated()).slug())
            .collect();

        assert_eq!(slugs, ["unauthenticated", "unauthenticated", "rate-limited"]);
    }

    #[test]
    fn attempts_come_back_with_time() {
        let limiter = FailureLimiter::new(2, MINUTE);
        let now = Instant::now();
        while limiter.count(address("203.0.113.9"), now).is_ok() {}

        assert!(limiter.count(address("203.0.113.9"), now + MINUTE / 2).is_ok());
        assert!(limiter.count(address("203.0.113.9"), now + MINUTE / 2).is_err());
    }

    #[test]
    fn one_ipv6_network_is_one_client() {
        let limiter = FailureLimiter::new(1, MINUTE);
        let now = Instant::now();

        assert!(limiter.count(address("2001:db8::1"), now).is_ok());
        assert!(limiter.count(address("2001:db8::2"), now).is_err());
        assert!(limiter.count(address("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_a_client_that_goes_on_failing_is_not_forgotten() {
        let limiter = FailureLimiter::new(1, MINUTE);
        let now = Instant::now();
        limiter.count(address("203.0.113.9"), now).unwrap();

        for other in 0..50_000_u32 {
            let stranger = IpAddr::from((other | 0x0a00_0000).to_be_bytes());
            assert!(limiter.count(stranger, now).is_ok());
            if other % 1000 == 0 {
                assert!(limiter.count(address("203.0.113.9"), now).is_err());
            }
        }

        let clients = limiter.clients.lock().unwrap();
        assert!(clients.young.len() + clients.old.len() <= MAX_CLIENTS);
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
