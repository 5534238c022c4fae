use std::collections::HashMap;
use std::time::Duration;

use common::domain::Timestamp;

/// How often a password may be guessed: [`Guesses::LIMIT`] times, then not for [`Guesses::PAUSE`].
///
/// It counts by user name, as Keycloak's brute force detection does. Names that nobody has share one count,
/// so that made-up names neither fill the memory nor tell which ones exist.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    by_user: HashMap<Option<String>, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    wrong: u32,
    last: Timestamp,
}

impl Guesses {
    /// Wrong guesses until the pause.
    pub(crate) const LIMIT: u32 = 5;
    /// The pause.
    pub(crate) const PAUSE: Duration = Duration::from_mins(1);

    /// Counts a guess before it is looked at, so that many at once are still counted one by one; says
    /// whether it may be looked at.
    pub(crate) fn begin(&mut self, user: Option<&str>, now: Timestamp) -> bool {
        let count = self
            .by_user
            .entry(user.map(str::to_owned))
            .or_insert(Count { wrong: 0, last: now });
        if (now - count.last).abs() >= Self::PAUSE {
            count.wrong = 0;
        }
        if count.wrong >= Self::LIMIT {
            return false;
        }
        *count = Count {
            wrong: count.wrong + 1,
            last: now,
        };
        true
    }

    /// Forgets the guesses after the right one.
    pub(crate) fn succeed(&mut self, user: &str) {
        self.by_user.remove(&Some(user.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_guesses_are_looked_at_and_then_none_for_a_minute() {
        let mut guesses = Guesses::default();
        let now = Timestamp::UNIX_EPOCH;

        let looked_at = (0..20).filter(|_| guesses.begin(Some("olga"), now)).count();

        assert_eq!(looked_at, 5);
        assert!(!guesses.begin(Some("olga"), now + Duration::from_secs(59)));
        assert!(guesses.begin(Some("olga"), now + Guesses::PAUSE));
    }

    #[test]
    fn one_persons_wrong_guesses_do_not_lock_out_another() {
        let mut guesses = Guesses::default();
        while guesses.begin(None, Timestamp::UNIX_EPOCH) {}

        assert!(guesses.begin(Some("olga"), Timestamp::UNIX_EPOCH));
    }

    #[test]
    fn the_right_password_forgets_the_wrong_ones() {
        let mut guesses = Guesses::default();
        for _ in 0..50 {
            assert!(guesses.begin(Some("olga"), Timestamp::UNIX_EPOCH));
            guesses.succeed("olga");
        }
    }
}
