//! The authority's revocation list, kept for a while, and as long as step-ca is away. Anyone may ask for it, so what is
//! asked of step-ca is bounded, and nobody who has something to revoke waits for it.

use std::sync::{Mutex, MutexGuard};

use common::domain::Timestamp;

use super::kept::is_recent;
use super::unavailable;
use crate::ports::UpstreamError;

/// For how long a revocation list is handed out without asking again.
const MAX_AGE: time::Duration = time::Duration::seconds(60);
/// For how long nobody asks again after there was none.
const PAUSE: time::Duration = time::Duration::seconds(5);

/// The list, as it was had last.
#[derive(Default)]
pub(super) struct Crl {
    /// Held while it is fetched: one request to step-ca at a time.
    turn: tokio::sync::Mutex<()>,
    /// Never held while anything is waited for.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    answer: Option<(Timestamp, Answer)>,
    /// The last list that came. It says itself until when it counts.
    list: Option<Vec<u8>>,
    /// How often something was revoked: a list that was asked for before is not kept.
    revocations: u64,
}

#[derive(Clone, Copy)]
enum Answer {
    List,
    /// It is switched off.
    Nothing,
    /// It did not come, or was not waited for any longer.
    Failed,
}

/// What a list that did not come says to those who ask right after.
#[derive(Debug, thiserror::Error)]
#[error("the revocation list could not be had a moment ago")]
struct FailedBefore;

impl Crl {
    /// Something was revoked: whoever asks next shall see it.
    pub(super) fn forget(&self) {
        let mut kept = self.kept();
        kept.answer = None;
        kept.list = None;
        kept.revocations += 1;
    }

    /// Returns the list, fetched unless it is fresh; none where it is switched off.
    pub(super) async fn get(
        &self,
        now: Timestamp,
        fetch: impl Future<Output = Result<Option<Vec<u8>>, UpstreamError>> + Send,
    ) -> Result<Option<Vec<u8>>, UpstreamError> {
        let _turn = self.turn.lock().await;
        if let Some(answer) = self.kept().fresh(now) {
            return answer;
        }
        let asked_after = {
            let mut kept = self.kept();
            // Whoever waits no longer drops this future: then this stands.
            kept.answer = Some((now, Answer::Failed));
            kept.revocations
        };
        let fetched = fetch.await;
        let answer = match &fetched {
            Ok(Some(_)) => Answer::List,
            Ok(None) => Answer::Nothing,
            Err(_) => Answer::Failed,
        };
        let mut kept = self.kept();
        if kept.revocations == asked_after {
            kept.answer = Some((now, answer));
            if let Ok(list) = &fetched {
                kept.list.clone_from(list);
            }
        }
        fetched.or_else(|error| kept.list.clone().map(Some).ok_or(error))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while it holds the lock")
    }
}

impl Kept {
    fn fresh(&self, now: Timestamp) -> Option<Result<Option<Vec<u8>>, UpstreamError>> {
        let (at, answer) = self.answer?;
        let max_age = match answer {
            Answer::List => MAX_AGE,
            Answer::Nothing | Answer::Failed => PAUSE,
        };
        is_recent(at, now, max_age).then(|| match (answer, &self.list) {
            (Answer::Failed, None) => Err(unavailable(FailedBefore)),
            (Answer::List | Answer::Nothing | Answer::Failed, list) => Ok(list.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use time::macros::datetime;

    use super::*;

    const NOW: Timestamp = datetime!(2026-05-01 12:00 UTC);

    #[tokio::test]
    async fn a_list_that_was_asked_for_before_a_revocation_is_not_handed_out_after_it() {
        let crl = Crl::default();
        let revoked_meanwhile = async {
            crl.forget();
            Ok(Some(vec![1]))
        };
        crl.get(NOW, revoked_meanwhile).await.unwrap();

        let next = crl.get(NOW, ready(Ok(Some(vec![2])))).await.unwrap();
        let kept = crl.get(NOW, ready(Ok(Some(vec![3])))).await.unwrap();

        assert_eq!((next, kept), (Some(vec![2]), Some(vec![2])));
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_keeps_neither_a_list_nor_a_failure_for_longer() {
        for first in [Ok(Some(vec![1])), Err(unavailable("away"))] {
            let crl = Crl::default();
            drop(crl.get(NOW, ready(first)).await);

            let next = crl.get(NOW - time::Duration::HOUR, ready(Ok(Some(vec![2])))).await;

            assert_eq!(next.unwrap(), Some(vec![2]));
        }
    }

    #[tokio::test]
    async fn after_there_was_no_list_nobody_asks_again_for_a_few_seconds() {
        for is_switched_off in [true, false] {
            let (crl, asked) = (Crl::default(), AtomicUsize::new(0));
            let ask = async |now| {
                let fetch = async {
                    asked.fetch_add(1, Ordering::Relaxed);
                    is_switched_off.then_some(None).ok_or_else(|| unavailable("away"))
                };
                crl.get(now, fetch).await.is_ok()
            };
            let (first, second) = (ask(NOW).await, ask(NOW).await);
            assert_eq!((first, asked.load(Ordering::Relaxed)), (second, 1));

            ask(NOW + PAUSE).await;
            assert_eq!(asked.load(Ordering::Relaxed), 2);
        }
    }

    #[tokio::test]
    async fn while_the_authority_is_away_the_last_list_is_handed_out_unless_something_was_revoked_since() {
        let (crl, list) = (Crl::default(), Some(vec![1]));
        let away = || ready(Err(unavailable("away")));
        crl.get(NOW, ready(Ok(list.clone()))).await.unwrap();

        let old = crl.get(NOW + MAX_AGE, away()).await.unwrap();
        let at_once = crl.get(NOW + MAX_AGE, away()).await.unwrap();
        crl.forget();
        let outdated = crl.get(NOW + MAX_AGE, away()).await;

        assert_eq!((&old, &at_once), (&list, &list));
        assert!(outdated.is_err());
    }

    #[tokio::test]
    async fn a_list_that_is_waited_for_in_vain_is_not_asked_for_at_once_again() {
        let crl = Crl::default();
        assert!(crl.get(NOW, pending()).now_or_never().is_none());

        assert!(crl.get(NOW, ready(Ok(Some(vec![1])))).await.is_err());
        assert!(crl.get(NOW + PAUSE, ready(Ok(Some(vec![1])))).await.is_ok());
    }
}
