//! Many sessions, one commit: what arrives while a commit is on its way to the disk goes with the next one.
//!
//! There is no task and no delay: of all who wait, one commits for everybody who is there, and whoever comes
//! meanwhile waits for the next turn.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::transaction::in_transaction;
use super::{Store, sessions};
use crate::domain::{NewSession, SessionEnding, SessionId, StoreError};

/// The most that one commit takes on.
const MAX_BATCH: usize = 256;

/// One line of the ledger of sessions.
#[derive(Debug, Clone)]
pub(super) enum LedgerEntry {
    Open(NewSession),
    Close(SessionId, SessionEnding),
}

/// Entries on their way into one transaction.
#[derive(Debug, Default)]
pub(super) struct LedgerQueue {
    waiting: Mutex<Vec<Waiting>>,
    turn: AsyncMutex<()>,
}

#[derive(Debug)]
struct Waiting {
    entry: LedgerEntry,
    done: oneshot::Sender<Result<bool, StoreError>>,
}

/// The transaction that an entry was part of failed.
#[derive(Debug, thiserror::Error)]
#[error("the transaction failed: {0}")]
struct BatchFailed(String);

impl Store {
    /// Makes an entry durable, alone or with others. Writing it is repeatable: a committer that is dropped half way
    /// leaves its entries to be committed again. Returns whether the entry's session is on record.
    pub(super) async fn commit_entry(&self, entry: LedgerEntry) -> Result<bool, StoreError> {
        let queue = &self.shared.ledger;
        loop {
            let mut outcome = queue.join(entry.clone());
            let turn = tokio::select! {
                biased;
                outcome = &mut outcome => match outcome {
                    Ok(outcome) => return outcome,
                    Err(_committer_left) => continue,
                },
                turn = queue.turn.lock() => turn,
            };
            // Whoever had the turn before may have done it; otherwise it is among the next.
            loop {
                match outcome.try_recv() {
                    Ok(outcome) => return outcome,
                    Err(TryRecvError::Empty) => self.commit_waiting().await,
                    Err(TryRecvError::Closed) => break,
                }
            }
            drop(turn);
        }
    }

    async fn commit_waiting(&self) {
        let batch = self.shared.ledger.take();
        let (entries, dones): (Vec<LedgerEntry>, Vec<_>) = batch.into_iter().map(|it| (it.entry, it.done)).unzip();
        let result = in_transaction!(self, |transaction| sessions::write(transaction, &entries)).await;
        let mut outcomes = outcomes(result);
        for done in dones {
            // Nobody waits any more for an entry whose caller was dropped.
            done.send(outcomes()).map_or_else(drop, drop);
        }
    }
}

impl LedgerQueue {
    fn join(&self, entry: LedgerEntry) -> oneshot::Receiver<Result<bool, StoreError>> {
        let (done, outcome) = oneshot::channel();
        self.waiting().push(Waiting { entry, done });
        outcome
    }

    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let later = waiting.len().min(MAX_BATCH);
        let later = waiting.split_off(later);
        std::mem::replace(&mut *waiting, later)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Deals out the outcomes of a batch one by one; a failure is everybody's.
fn outcomes(result: Result<Vec<bool>, StoreError>) -> impl FnMut() -> Result<bool, StoreError> {
    let mut entries = result.map(Vec::into_iter);
    move || match &mut entries {
        Ok(entries) => Ok(entries.next().unwrap_or(false)),
        Err(StoreError::Unavailable { source }) => Err(StoreError::Unavailable {
            source: Box::new(BatchFailed(source.to_string())),
        }),
        Err(StoreError::Corrupt { column }) => Err(StoreError::Corrupt { column }),
    }
}
