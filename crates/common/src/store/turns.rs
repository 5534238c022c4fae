//! Many wait, one acts: of all who are there, one does for everybody what each of them wants, and whoever comes
//! meanwhile waits for the next turn. There is no task and no delay.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Mutex as SyncMutex;
use std::sync::PoisonError;

use tokio::sync::Mutex;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::oneshot::{self, Receiver, Sender};

use super::failures::copy;
use crate::domain::StoreError;

/// Joins those who wait, and returns what came of it, whoever acted. `act` does the same for all who are there, itself
/// among them; one who goes away while acting leaves them to join again.
pub(super) async fn in_turn<T, Act>(turn: &Mutex<()>, join: impl Fn() -> Receiver<T>, act: impl Fn() -> Act) -> T
where
    Act: Future<Output = ()>,
{
    loop {
        let mut outcome = join();
        let turn = tokio::select! {
            biased;
            outcome = &mut outcome => match outcome {
                Ok(outcome) => return outcome,
                Err(_who_acted_left) => continue,
            },
            turn = turn.lock() => turn,
        };
        // Whoever had the turn before may have done it; otherwise it is among the next.
        loop {
            match outcome.try_recv() {
                Ok(outcome) => return outcome,
                Err(TryRecvError::Empty) => act().await,
                Err(TryRecvError::Closed) => break,
            }
        }
        drop(turn);
    }
}

/// What one who asks hears.
pub(super) type Answer<Value> = Result<Option<Value>, StoreError>;

/// Those who wait for the next look, and what each asks for.
pub(super) struct Questions<Key, Value>(SyncMutex<Asked<Key, Value>>);

/// Those who are answered by one look.
pub(super) struct Asked<Key, Value>(Vec<(Key, Sender<Answer<Value>>)>);

impl<Key, Value> Default for Questions<Key, Value> {
    fn default() -> Self {
        Self(SyncMutex::new(Asked(Vec::new())))
    }
}

impl<Key, Value> Questions<Key, Value> {
    pub(super) fn ask(&self, key: Key) -> Receiver<Answer<Value>> {
        let (asker, answer) = oneshot::channel();
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .push((key, asker));
        answer
    }

    pub(super) fn take(&self) -> Asked<Key, Value> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Asked(std::mem::take(&mut waiting.0))
    }
}

impl<Key: Eq + Hash, Value: Clone> Asked<Key, Value> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn keys(&self) -> HashSet<&Key> {
        self.0.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn answer(self, found: &Result<HashMap<Key, Value>, StoreError>) {
        for (key, asker) in self.0 {
            let answer = match found {
                Ok(found) => Ok(found.get(&key).cloned()),
                Err(error) => Err(copy(error)),
            };
            // Nobody waits any more for an answer whose asker was dropped.
            drop(asker.send(answer));
        }
    }
}
