//! Transactions and queries on either database.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};

use super::failures::{GaveWay, NotPlain, has_given_way, unavailable};
use super::statement::{Row, Statement};
use super::{Store, audit};
use crate::domain::{AuditEvent, StoreError, Timestamp};

/// The longest that anyone waits for one transaction.
const DEADLINE: Duration = Duration::from_secs(15);

/// How often a transaction is done over when the database chose it to give way to another one.
pub(super) const ATTEMPTS: u8 = 8;

/// Where the tables are.
#[derive(Debug)]
pub(super) enum Backend {
    /// One connection writes, so that writers queue here and not in SQLite's busy handler; the others read.
    Sqlite { writer: SqlitePool, readers: SqlitePool },
    /// One connection commits what many want, and one takes orders and ends them, so that they know the plans of their
    /// statements; the others do all else. No commit of the worker's waits for the disk.
    Postgres {
        committer: PgPool,
        worker: PgPool,
        others: PgPool,
    },
}

impl Backend {
    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres {
                committer,
                worker,
                others,
            } => {
                others.close().await;
                worker.close().await;
                committer.close().await;
            }
        }
    }

    async fn begin_write(&self) -> sqlx::Result<Connection> {
        match self {
            // Without IMMEDIATE a reader that turns into a writer fails instead of waiting.
            Self::Sqlite { writer, .. } => writer.begin_with("BEGIN IMMEDIATE").await.map(Connection::Sqlite),
            Self::Postgres { others, .. } => others.begin().await.map(Connection::Postgres),
        }
    }

    async fn begin_batch(&self) -> sqlx::Result<Connection> {
        match self {
            Self::Sqlite { .. } => self.begin_write().await,
            Self::Postgres { committer, .. } => committer.begin().await.map(Connection::Postgres),
        }
    }

    async fn begin_repeatable(&self) -> sqlx::Result<Connection> {
        match self {
            Self::Sqlite { .. } => self.begin_write().await,
            Self::Postgres { worker, .. } => worker.begin().await.map(Connection::Postgres),
        }
    }

    async fn begin_read(&self) -> sqlx::Result<Connection> {
        match self {
            Self::Sqlite { readers, .. } => readers.begin().await.map(Connection::Sqlite),
            Self::Postgres { others, .. } => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                others.begin_with(begin).await.map(Connection::Postgres)
            }
        }
    }
}

#[derive(Debug)]
enum Connection {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

/// One transaction; dropped without commit, it never happened.
#[derive(Debug)]
pub(super) struct Transaction {
    connection: Connection,
    /// The time of everything in it.
    pub(super) now: Timestamp,
    /// The process that does it.
    pub(super) instance: Arc<str>,
    /// What goes to the audit trail when everything else is written: whoever holds the chain waits for nothing else.
    records: Vec<AuditEvent>,
    gave_way: bool,
    was_refused: bool,
}

impl Transaction {
    /// Executes a statement; returns how many rows it changed.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        let done = match &mut self.connection {
            Connection::Sqlite(transaction) => statement
                .into_sqlite()
                .execute(&mut **transaction)
                .await
                .map(|done| done.rows_affected()),
            Connection::Postgres(transaction) => statement
                .into_postgres()
                .execute(&mut **transaction)
                .await
                .map(|done| done.rows_affected()),
        };
        done.map_err(|error| self.failed(error))
    }

    /// Reads all rows.
    pub(super) async fn all(&mut self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let rows = match &mut self.connection {
            Connection::Sqlite(transaction) => statement
                .into_sqlite()
                .fetch_all(&mut **transaction)
                .await
                .map(sqlite_rows),
            Connection::Postgres(transaction) => statement
                .into_postgres()
                .fetch_all(&mut **transaction)
                .await
                .map(postgres_rows),
        };
        rows.map_err(|error| self.failed(error))
    }

    /// Reads the one row there may be.
    pub(super) async fn optional(&mut self, statement: Statement) -> Result<Option<Row>, StoreError> {
        let row = match &mut self.connection {
            Connection::Sqlite(transaction) => statement
                .into_sqlite()
                .fetch_optional(&mut **transaction)
                .await
                .map(|row| row.map(Row::Sqlite)),
            Connection::Postgres(transaction) => statement
                .into_postgres()
                .fetch_optional(&mut **transaction)
                .await
                .map(|row| row.map(Row::Postgres)),
        };
        row.map_err(|error| self.failed(error))
    }

    /// Executes several changes of one [`sql_given`](super::given::sql_given), which change so many rows together, or
    /// something stands in their way.
    pub(super) async fn change(&mut self, statement: Statement, expected: usize) -> Result<(), StoreError> {
        let changed = match self.connection {
            Connection::Sqlite(_) => self.execute(statement).await?,
            Connection::Postgres(_) => {
                let row = self.optional(statement).await?;
                let changed = row.map_or(Ok(0), |row| row.get::<i64>("changed"))?;
                u64::try_from(changed).unwrap_or_default()
            }
        };
        self.must_be_all(changed, expected)
    }

    /// Fails when not as many rows were changed as there are changes: something stands in the way of one.
    pub(super) fn must_be_all(&mut self, changed: u64, expected: usize) -> Result<(), StoreError> {
        if usize::try_from(changed) == Ok(expected) {
            return Ok(());
        }
        self.was_refused = true;
        Err(unavailable(NotPlain))
    }

    /// Whether foreign keys have to fit at the end of a statement, however much it changes, and not after every step.
    pub(super) fn references_fit_at_the_end(&self) -> bool {
        matches!(self.connection, Connection::Postgres(_))
    }

    /// Has an event recorded with the commit.
    pub(super) fn record(&mut self, event: AuditEvent) {
        self.records.push(event);
    }

    /// How many events are to be recorded.
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    /// Forgets the events after the first `count`: what they are about was undone.
    pub(super) fn forget_records_after(&mut self, count: usize) {
        self.records.truncate(count);
    }

    /// Fails when the database will not commit this in any case.
    pub(super) fn must_not_have_given_way(&self) -> Result<(), StoreError> {
        if self.gave_way {
            return Err(unavailable(GaveWay));
        }
        Ok(())
    }

    /// Whether the database is there and did not want what it was told.
    pub(super) fn was_refused(&self) -> bool {
        self.was_refused && !self.gave_way
    }

    /// Commits what went well, its audit records included; everything else is undone.
    pub(super) async fn end<T, E: From<StoreError>>(mut self, outcome: Result<T, E>) -> Attempt<T, E> {
        let outcome = match outcome {
            Ok(value) => self.write_records().await.map(|()| value).map_err(E::from),
            Err(refused) => Err(refused),
        };
        let gave_way = self.gave_way;
        let Ok(value) = outcome else {
            return Attempt { outcome, gave_way };
        };
        let committed = match self.connection {
            Connection::Sqlite(transaction) => transaction.commit().await,
            Connection::Postgres(transaction) => transaction.commit().await,
        };
        match committed {
            Ok(()) => Attempt {
                outcome: Ok(value),
                gave_way: false,
            },
            Err(error) => Attempt::failed(error),
        }
    }

    async fn write_records(&mut self) -> Result<(), StoreError> {
        let records = std::mem::take(&mut self.records);
        audit::write(self, &records).await
    }

    fn failed(&mut self, error: sqlx::Error) -> StoreError {
        self.gave_way |= has_given_way(&error);
        self.was_refused |= error.as_database_error().is_some();
        unavailable(error)
    }
}

/// Does some work in one transaction: all of it is durable when this returns `Ok`, and never only a part of it. It is
/// done over when the database made it give way to another one.
///
/// An error usually means that nothing happened. But when the deadline passes or the connection breaks at the very
/// COMMIT, the outcome is unknown: all of it may be durable nevertheless. Whoever tries again must bear that.
///
/// `in_transaction!(store, |transaction| work(transaction, …)).await`, where `work` returns a future of a `Result`
/// whose error is made from a [`StoreError`]. A macro, because no closure type lets the future borrow both the
/// transaction and its surroundings and still be `Send`.
macro_rules! in_transaction {
    ($store:expr, |$transaction:ident| $work:expr) => {
        async {
            let mut attempts_left = $crate::store::transaction::ATTEMPTS;
            loop {
                attempts_left -= 1;
                let attempt = async {
                    let mut transaction = match $store.begin().await {
                        Ok(transaction) => transaction,
                        Err(error) => return $crate::store::transaction::Attempt::failed(error),
                    };
                    let $transaction = &mut transaction;
                    let outcome = $work.await;
                    transaction.end(outcome).await
                };
                let attempt = $crate::store::transaction::Attempt::within_deadline(attempt).await;
                if !attempt.gave_way || attempts_left == 0 {
                    break attempt.outcome;
                }
            }
        }
    };
}
pub(super) use in_transaction;

/// How one try of a transaction ended.
pub(super) struct Attempt<T, E> {
    pub(super) outcome: Result<T, E>,
    /// Whether the database undid it only because of another transaction.
    pub(super) gave_way: bool,
}

impl<T, E: From<StoreError>> Attempt<T, E> {
    pub(super) fn failed(error: sqlx::Error) -> Self {
        Self {
            gave_way: has_given_way(&error),
            outcome: Err(unavailable(error).into()),
        }
    }

    pub(super) async fn within_deadline(attempt: impl Future<Output = Self>) -> Self {
        let given_up = |elapsed| Self {
            outcome: Err(unavailable(elapsed).into()),
            gave_way: false,
        };
        tokio::time::timeout(DEADLINE, attempt).await.unwrap_or_else(given_up)
    }
}

/// The transactions that commit what many want, one at a time; for [`in_transaction`] in the place of a store.
pub(super) struct Batches<'a>(pub(super) &'a Store);

impl Batches<'_> {
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction> {
        let connection = self.0.shared.backend.begin_batch().await?;
        Ok(self.0.transaction(connection))
    }
}

/// The transactions that are done again when the database's machine loses what they did in its last moment; for
/// [`in_transaction`] in the place of a store. They cost the disk nothing, and nobody who waits for it.
pub(super) struct Repeatable<'a>(pub(super) &'a Store);

impl Repeatable<'_> {
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction> {
        let connection = self.0.shared.backend.begin_repeatable().await?;
        Ok(self.0.transaction(connection))
    }
}

impl Store {
    /// Begins a transaction that may write; for [`in_transaction`] only.
    pub(super) async fn begin(&self) -> sqlx::Result<Transaction> {
        self.shared
            .backend
            .begin_write()
            .await
            .map(|connection| self.transaction(connection))
    }

    /// Begins a transaction that sees one moment of the database and changes nothing.
    pub(super) async fn snapshot(&self) -> Result<Transaction, StoreError> {
        let connection = within_deadline(self.shared.backend.begin_read()).await?;
        Ok(self.transaction(connection))
    }

    /// Reads all rows of one statement.
    pub(super) async fn all(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        within_deadline(async {
            match &self.shared.backend {
                Backend::Sqlite { readers, .. } => statement.into_sqlite().fetch_all(readers).await.map(sqlite_rows),
                Backend::Postgres { others, .. } => {
                    statement.into_postgres().fetch_all(others).await.map(postgres_rows)
                }
            }
        })
        .await
    }

    /// Reads all rows of one statement in the turn of the next commit: it finds a few rows by their keys.
    pub(super) async fn all_in_turn(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        match &self.shared.backend {
            Backend::Sqlite { .. } => self.all(statement).await,
            Backend::Postgres { committer, .. } => {
                let rows = statement.into_postgres().fetch_all(committer);
                within_deadline(async { rows.await.map(postgres_rows) }).await
            }
        }
    }

    /// Reads the one row there may be.
    pub(super) async fn optional(&self, statement: Statement) -> Result<Option<Row>, StoreError> {
        Ok(self.all(statement).await?.pop())
    }

    fn transaction(&self, connection: Connection) -> Transaction {
        let now = self.shared.clock.now();
        Transaction {
            connection,
            now,
            instance: self.shared.instance.clone(),
            records: Vec::new(),
            gave_way: false,
            was_refused: false,
        }
    }
}

async fn within_deadline<T>(work: impl Future<Output = sqlx::Result<T>>) -> Result<T, StoreError> {
    tokio::time::timeout(DEADLINE, work)
        .await
        .map_err(unavailable)?
        .map_err(unavailable)
}

fn sqlite_rows(rows: Vec<sqlx::sqlite::SqliteRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Sqlite).collect()
}

fn postgres_rows(rows: Vec<sqlx::postgres::PgRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Postgres).collect()
}
