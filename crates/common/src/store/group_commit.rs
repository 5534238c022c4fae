//! Many changes, one commit: what arrives while a commit is on its way to the disk goes with the next one.
//!
//! There is no task and no delay: of all who wait, one commits for everybody who is there, and whoever comes
//! meanwhile waits for the next turn. A change that is refused is undone alone. Nobody hears that a change is done
//! before the commit that it was part of is on the disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::Store;
use super::statement::sql;
use super::transaction::{Transaction, in_transaction};
use crate::domain::StoreError;

/// The most that one commit takes on.
const MAX_BATCH: usize = 64;

/// A change that shares its transaction with others. It is written again when the database undid the transaction, or
/// when whoever was about to commit it went away, so it must bear to be repeated after it was done.
#[async_trait]
pub(super) trait Change: Send + Sync + 'static {
    /// What it returns.
    type Done: Send + 'static;
    /// Why it is undone.
    type Refused: From<StoreError> + Send + 'static;

    /// Writes it.
    async fn write(&self, transaction: &mut Transaction) -> Result<Self::Done, Self::Refused>;
}

/// Changes on their way into one transaction.
#[derive(Default)]
pub(super) struct CommitQueue {
    waiting: Mutex<Vec<Box<dyn Waiting>>>,
    turn: AsyncMutex<()>,
}

/// A change of any kind, and whoever waits for it.
#[async_trait]
trait Waiting: Send {
    /// Writes it; says whether what it wrote stays.
    async fn write(&mut self, transaction: &mut Transaction) -> bool;

    /// Tells its outcome, now that the transaction is over.
    fn tell(self: Box<Self>, committed: &Result<(), StoreError>);
}

type Outcome<C> = Result<<C as Change>::Done, <C as Change>::Refused>;

struct Entry<C: Change> {
    change: Arc<C>,
    outcome: Option<Outcome<C>>,
    waiter: oneshot::Sender<Outcome<C>>,
}

/// The transaction that a change was part of failed.
#[derive(Debug, thiserror::Error)]
#[error("the transaction failed: {0}")]
struct CommitFailed(String);

impl Store {
    /// Makes a change durable, alone or with others; a refused one never happened.
    pub(super) async fn commit<C: Change>(&self, change: C) -> Outcome<C> {
        let (queue, change) = (&self.shared.commits, Arc::new(change));
        loop {
            let mut outcome = queue.join(Arc::clone(&change));
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
                    Err(TryRecvError::Empty) => self.commit_batch().await,
                    Err(TryRecvError::Closed) => break,
                }
            }
            drop(turn);
        }
    }

    async fn commit_batch(&self) {
        let mut batch = self.shared.commits.take();
        let committed = in_transaction!(self, |transaction| write_all(transaction, &mut batch)).await;
        for entry in batch {
            entry.tell(&committed);
        }
    }
}

/// Writes every change behind a savepoint of its own, so that the ones that are refused leave nothing behind.
async fn write_all(transaction: &mut Transaction, batch: &mut [Box<dyn Waiting>]) -> Result<(), StoreError> {
    for entry in batch {
        let records = transaction.records();
        transaction.execute(sql("SAVEPOINT change")).await?;
        let stays = entry.write(transaction).await;
        transaction.must_not_have_given_way()?;
        if !stays {
            transaction.execute(sql("ROLLBACK TO SAVEPOINT change")).await?;
            transaction.forget_records_after(records);
        }
        transaction.execute(sql("RELEASE SAVEPOINT change")).await?;
    }
    Ok(())
}

#[async_trait]
impl<C: Change> Waiting for Entry<C> {
    async fn write(&mut self, transaction: &mut Transaction) -> bool {
        let outcome = self.change.write(transaction).await;
        let stays = outcome.is_ok();
        self.outcome = Some(outcome);
        stays
    }

    fn tell(self: Box<Self>, committed: &Result<(), StoreError>) {
        let outcome = match (committed, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(failed("it was not written").into()),
            // A refusal may rest on a change of the same transaction, which never happened either.
            (Err(error), _) => Err(copy(error).into()),
        };
        // Nobody waits any more for a change whose caller was dropped.
        self.waiter.send(outcome).unwrap_or(());
    }
}

impl CommitQueue {
    fn join<C: Change>(&self, change: Arc<C>) -> oneshot::Receiver<Outcome<C>> {
        let (waiter, outcome) = oneshot::channel();
        self.waiting().push(Box::new(Entry {
            change,
            outcome: None,
            waiter,
        }));
        outcome
    }

    fn take(&self) -> Vec<Box<dyn Waiting>> {
        let mut waiting = self.waiting();
        let later = waiting.len().min(MAX_BATCH);
        let later = waiting.split_off(later);
        std::mem::replace(&mut *waiting, later)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Box<dyn Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One error for everybody.
fn copy(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { source } => failed(&source.to_string()),
        StoreError::Corrupt { column } => StoreError::Corrupt { column },
    }
}

fn failed(reason: &str) -> StoreError {
    StoreError::Unavailable {
        source: Box::new(CommitFailed(reason.to_owned())),
    }
}
