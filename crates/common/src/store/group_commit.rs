//! Many changes, one commit: what arrives while a commit is on its way to the disk goes with the next one.
//!
//! Of all who wait, one commits for everybody who is there, and whoever comes meanwhile waits for the next turn. Changes
//! of one kind that nothing stands in the way of are written together; the others follow one by one, and one that is
//! refused is undone alone. Nobody hears that a change is done before the commit that it was part of is on the disk.

use std::any::Any;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::Store;
use super::device_looks::DeviceLooks;
use super::failures::{copy, failed};
use super::statement::sql;
use super::transaction::{Batches, Transaction, in_transaction};
use super::turns::{Answer, in_turn};
use crate::domain::{Device, DeviceId, StoreError};

/// The most of one kind that one commit takes on.
const MAX_BATCH: usize = 128;

/// A change that shares its transaction with others. It is written again when the database undid the transaction, or
/// when whoever was about to commit it went away, so it must bear to be repeated after it was done.
#[async_trait]
pub(super) trait Change: Sized + Send + Sync + 'static {
    /// What it returns.
    type Done: Send + 'static;
    /// Why it is undone.
    type Refused: From<StoreError> + Send + 'static;

    /// Writes it, whatever stands in its way.
    async fn write(&self, transaction: &mut Transaction) -> Result<Self::Done, Self::Refused>;

    /// Writes the plain ones of many with few statements, as if each was [written](Self::write) alone, and says what
    /// they return; nothing for the others. An error undoes all of them, and they are written one by one.
    async fn write_plain(
        _transaction: &mut Transaction,
        changes: &[Arc<Self>],
    ) -> Result<Vec<Option<Self::Done>>, StoreError> {
        Ok(changes.iter().map(|_| None).collect())
    }
}

/// Changes on their way into one transaction.
#[derive(Default)]
pub(super) struct CommitQueue {
    waiting: Mutex<Vec<Box<dyn Waiting>>>,
    looks: DeviceLooks,
    turn: AsyncMutex<()>,
}

/// Changes of one kind, and whoever waits for them.
#[async_trait]
trait Waiting: Any + Send {
    /// Writes those that nothing stands in the way of.
    async fn write_plain(&mut self, transaction: &mut Transaction) -> Result<(), StoreError>;

    /// Writes the others one by one.
    async fn write_others(&mut self, transaction: &mut Transaction) -> Result<(), StoreError>;

    /// Forgets what became of them: the transaction begins anew.
    fn begin_anew(&mut self);

    /// Leaves those behind that are too many for one transaction.
    fn split_off(&mut self) -> Option<Box<dyn Waiting>>;

    /// Tells each its outcome, now that the transaction is over.
    fn tell(self: Box<Self>, committed: &Result<(), StoreError>);
}

type Outcome<C> = Result<<C as Change>::Done, <C as Change>::Refused>;

struct Kind<C: Change>(Vec<Entry<C>>);

struct Entry<C: Change> {
    change: Arc<C>,
    outcome: Option<Outcome<C>>,
    waiter: oneshot::Sender<Outcome<C>>,
}

/// Why a batch was not written.
enum NotWritten {
    /// Something stood in the way of changes that were taken for plain ones.
    NotPlain,
    Failed(StoreError),
}

impl Store {
    /// Makes a change durable, alone or with others; a refused one never happened.
    pub(super) async fn commit<C: Change>(&self, change: C) -> Outcome<C> {
        let (queue, change) = (&self.shared.commits, Arc::new(change));
        let join = || queue.join(Arc::clone(&change));
        in_turn(&queue.turn, join, || self.take_turn()).await
    }

    /// Finds a device in the turn of the next commit, for somebody who is about to commit something.
    pub(super) async fn find_in_turn(&self, id: &DeviceId) -> Answer<Device> {
        let queue = &self.shared.commits;
        in_turn(&queue.turn, || queue.looks.ask(id.clone()), || self.take_turn()).await
    }

    /// Boxed: most who wait never have a turn.
    fn take_turn(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.look_at_devices(&self.shared.commits.looks).await;
            self.commit_batch().await;
        })
    }

    async fn commit_batch(&self) {
        let mut batch = self.shared.commits.take();
        if batch.is_empty() {
            return;
        }
        let batches = Batches(self);
        let together = in_transaction!(batches, |transaction| write_together(transaction, &mut batch)).await;
        let committed = match together {
            Ok(()) => Ok(()),
            Err(NotWritten::Failed(error)) => Err(error),
            Err(NotWritten::NotPlain) => {
                in_transaction!(batches, |transaction| write_one_by_one(transaction, &mut batch)).await
            }
        };
        for kind in batch {
            kind.tell(&committed);
        }
    }
}

async fn write_together(transaction: &mut Transaction, batch: &mut [Box<dyn Waiting>]) -> Result<(), NotWritten> {
    for kind in &mut *batch {
        kind.begin_anew();
        if let Err(error) = kind.write_plain(transaction).await {
            return Err(if transaction.was_refused() {
                NotWritten::NotPlain
            } else {
                NotWritten::Failed(error)
            });
        }
    }
    for kind in batch {
        kind.write_others(transaction).await?;
    }
    Ok(())
}

async fn write_one_by_one(transaction: &mut Transaction, batch: &mut [Box<dyn Waiting>]) -> Result<(), StoreError> {
    for kind in batch {
        kind.begin_anew();
        kind.write_others(transaction).await?;
    }
    Ok(())
}

#[async_trait]
impl<C: Change> Waiting for Kind<C> {
    async fn write_plain(&mut self, transaction: &mut Transaction) -> Result<(), StoreError> {
        let changes: Vec<_> = self.0.iter().map(|entry| Arc::clone(&entry.change)).collect();
        let done = C::write_plain(transaction, &changes).await?;
        for (entry, done) in self.0.iter_mut().zip(done) {
            entry.outcome = done.map(Ok);
        }
        Ok(())
    }

    /// Each is behind a savepoint of its own, so that the ones that are refused leave nothing behind.
    async fn write_others(&mut self, transaction: &mut Transaction) -> Result<(), StoreError> {
        for entry in self.0.iter_mut().filter(|entry| entry.outcome.is_none()) {
            let records = transaction.records();
            transaction.execute(sql("SAVEPOINT change")).await?;
            let outcome = entry.change.write(transaction).await;
            transaction.must_not_have_given_way()?;
            if outcome.is_err() {
                transaction.execute(sql("ROLLBACK TO SAVEPOINT change")).await?;
                transaction.forget_records_after(records);
            }
            transaction.execute(sql("RELEASE SAVEPOINT change")).await?;
            entry.outcome = Some(outcome);
        }
        Ok(())
    }

    fn begin_anew(&mut self) {
        for entry in &mut self.0 {
            entry.outcome = None;
        }
    }

    fn split_off(&mut self) -> Option<Box<dyn Waiting>> {
        let later = self.0.split_off(self.0.len().min(MAX_BATCH));
        (!later.is_empty()).then(|| Box::new(Self(later)) as _)
    }

    fn tell(self: Box<Self>, committed: &Result<(), StoreError>) {
        for entry in self.0 {
            let outcome = match (committed, entry.outcome) {
                (Ok(()), Some(outcome)) => outcome,
                (Ok(()), None) => Err(failed("it was not written").into()),
                // A refusal may rest on a change of the same transaction, which never happened either.
                (Err(error), _) => Err(copy(error).into()),
            };
            // Nobody waits any more for a change whose caller was dropped.
            entry.waiter.send(outcome).unwrap_or(());
        }
    }
}

impl CommitQueue {
    fn join<C: Change>(&self, change: Arc<C>) -> oneshot::Receiver<Outcome<C>> {
        let (waiter, receiver) = oneshot::channel();
        let outcome = None;
        let entry = Entry {
            change,
            outcome,
            waiter,
        };
        let mut waiting = self.waiting();
        let same = waiting.iter_mut().find_map(|kind| {
            let kind: &mut dyn Any = kind.as_mut();
            kind.downcast_mut::<Kind<C>>()
        });
        if let Some(kind) = same {
            kind.0.push(entry);
        } else {
            waiting.push(Box::new(Kind(vec![entry])));
        }
        receiver
    }

    fn take(&self) -> Vec<Box<dyn Waiting>> {
        let mut waiting = self.waiting();
        let later = waiting.iter_mut().filter_map(|kind| kind.split_off()).collect();
        std::mem::replace(&mut *waiting, later)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Box<dyn Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<StoreError> for NotWritten {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}
