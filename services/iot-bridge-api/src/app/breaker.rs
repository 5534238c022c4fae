//! Leaves a system alone that does not answer, and notices when it is back.

use std::sync::Mutex;

use common::domain::Timestamp;

/// So many calls in a row without an answer, and the system is left alone.
const THRESHOLD: u32 = 5;
/// For how long at first; it doubles each time that the question whether it is back has no answer.
const FIRST_REST: time::Duration = time::Duration::seconds(5);
/// For how long at most.
const LONGEST_REST: time::Duration = time::Duration::minutes(5);

/// What may be asked of a system now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// Anything.
    Free,
    /// One thing, to see whether it is back.
    Probe,
    /// Nothing.
    Denied,
}

/// Watches one system's answers.
#[derive(Debug, Default)]
pub struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Calls in a row without an answer.
    silent: u32,
    rests: u32,
    /// Until when it is left alone; none while it answers.
    rests_until: Option<Timestamp>,
}

impl Breaker {
    /// Returns what may be asked now.
    pub fn permit(&self, now: Timestamp) -> Permit {
        match self.state().rests_until {
            None => Permit::Free,
            Some(until) if now < until => Permit::Denied,
            Some(_) => Permit::Probe,
        }
    }

    /// It answered; returns whether it had been left alone before.
    pub fn answered(&self) -> bool {
        std::mem::take(&mut *self.state()).rests_until.is_some()
    }

    /// It did not answer.
    pub fn was_silent(&self, now: Timestamp) {
        let mut state = self.state();
        state.silent += 1;
        let is_resting = state.rests_until.is_some_and(|until| now < until);
        if state.silent >= THRESHOLD && !is_resting {
            let rest = FIRST_REST * 2_i32.pow(state.rests.min(10));
            state.rests += 1;
            state.rests_until = Some(now + rest.min(LONGEST_REST));
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics while holding the state")
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_silent_system_is_left_alone_longer_and_longer() {
        let (breaker, mut now) = (Breaker::default(), datetime!(2026-05-01 12:00 UTC));
        for _ in 0..4 {
            breaker.was_silent(now);
        }
        assert_eq!(breaker.permit(now), Permit::Free);

        for seconds in [5, 10, 20, 40, 80, 160, 300, 300] {
            breaker.was_silent(now);
            breaker.was_silent(now); // a call that was on its way
            assert_eq!(breaker.permit(now), Permit::Denied);
            now += time::Duration::seconds(seconds - 1);
            assert_eq!(breaker.permit(now), Permit::Denied, "{seconds}");
            now += time::Duration::seconds(1);
            assert_eq!(breaker.permit(now), Permit::Probe, "{seconds}");
        }
    }

    #[test]
    fn one_answer_and_it_is_back() {
        let (breaker, now) = (Breaker::default(), datetime!(2026-05-01 12:00 UTC));
        assert!(!breaker.answered());
        for _ in 0..5 {
            breaker.was_silent(now);
        }

        assert!(breaker.answered());
        assert!(!breaker.answered());
        assert_eq!(breaker.permit(now), Permit::Free);
    }
}
