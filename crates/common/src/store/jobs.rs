//! The standing orders to outside systems.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::Store;
use super::given::sql_given;
use super::statement::{Row, row, sql, sql_about};
use super::transaction::{Transaction, in_transaction};
use crate::domain::{DeviceId, Job, JobAction, JobQueue, JobState, RegistryError, StoreError, System, Timestamp};

#[async_trait]
impl JobQueue for Store {
    async fn claim(&self, systems: &[System], limit: u16, lease: Duration) -> Result<Vec<Job>, StoreError> {
        in_transaction!(self, |transaction| claim(transaction, systems, limit, lease)).await
    }

    async fn take_back(&self) -> Result<u64, StoreError> {
        in_transaction!(self, |transaction| take_back(transaction)).await
    }

    async fn complete(&self, job: &Job) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| complete(transaction, job)).await
    }

    async fn postpone(&self, job: &Job, error: &str, next_attempt_at: Option<Timestamp>) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| postpone(transaction, job, error, next_attempt_at)).await
    }

    async fn jobs(&self, state: Option<JobState>) -> Result<Vec<Job>, StoreError> {
        let statement = sql(
            "SELECT id, device_id, system, action, state, generation, attempts, created_at,
                                    next_attempt_at, last_error
                             FROM job WHERE ($1 IS NULL OR state = $1) ORDER BY created_at, id LIMIT 1000",
        );
        self.all(statement.bind_optional(state.as_ref()))
            .await?
            .iter()
            .map(job_record)
            .collect()
    }

    async fn retry(&self, id: Uuid) -> Result<(), RegistryError> {
        in_transaction!(self, |transaction| retry(transaction, id)).await
    }

    async fn hasten(&self, system: System) -> Result<u64, StoreError> {
        in_transaction!(self, |transaction| hasten(transaction, system)).await
    }
}

/// Orders systems to be brought in line for a device, in the transaction that makes it necessary. The caller holds
/// the device's row. A lease goes on: the worker under it finishes the old order before the new one is begun.
pub(super) async fn place(
    transaction: &mut Transaction,
    device: &DeviceId,
    systems: &[System],
    action: JobAction,
) -> Result<(), StoreError> {
    let now = transaction.now;
    for system in systems {
        let statement = sql("INSERT INTO job
                                 (id, device_id, system, action, state, generation, attempts, created_at, next_attempt_at)
                             VALUES ($1, $2, $3, $4, 'pending', 1, 0, $5, $5)
                             ON CONFLICT (device_id, system) DO UPDATE
                             SET action = excluded.action, state = 'pending', generation = job.generation + 1,
                                 attempts = 0, created_at = excluded.created_at,
                                 next_attempt_at = excluded.next_attempt_at, last_error = NULL")
        .bind(&Uuid::now_v7())
        .bind(device)
        .bind(system)
        .bind(&action)
        .bind(&now);
        transaction.execute(statement).await?;
    }
    Ok(())
}

/// An order for a system, to be placed with others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) device: &'a DeviceId,
    pub(super) system: System,
    pub(super) action: JobAction,
}

/// Places many orders as [`place`] does, of several for one device and system the last.
pub(super) async fn place_all(transaction: &mut Transaction, orders: &[Order<'_>]) -> Result<(), StoreError> {
    let now = transaction.now;
    let latest: BTreeMap<_, _> = orders
        .iter()
        .map(|order| ((order.device, order.system.as_str()), order))
        .collect();
    if latest.is_empty() {
        return Ok(());
    }
    let rows = latest.values().map(|order| {
        let row = row().bind(&Uuid::now_v7()).bind(order.device).bind(&order.system);
        row.bind(&order.action).bind(&now)
    });
    let texts = sql_given!(
        (id, device_id, system, action, now)
        "INSERT INTO job (id, device_id, system, action, state, generation, attempts, created_at, next_attempt_at)
         SELECT id, device_id, system, action, 'pending', 1, 0, now, now FROM given WHERE true
         ON CONFLICT (device_id, system) DO UPDATE
         SET action = excluded.action, state = 'pending', generation = job.generation + 1, attempts = 0,
             created_at = excluded.created_at, next_attempt_at = excluded.next_attempt_at, last_error = NULL"
    );
    transaction.execute(sql_about(texts, rows.collect())).await.map(drop)
}

async fn claim(
    transaction: &mut Transaction,
    systems: &[System],
    limit: u16,
    lease: Duration,
) -> Result<Vec<Job>, StoreError> {
    let now = transaction.now;
    let names = systems
        .iter()
        .fold(",".to_owned(), |list, system| list + system.as_str() + ",");
    let statement = sql(
        "SELECT id, device_id, system, action, state, generation, attempts, created_at,
                                next_attempt_at, last_error
                         FROM job
                         WHERE state = 'pending' AND next_attempt_at <= $1
                             AND (leased_until IS NULL OR leased_until <= $1) AND $2 LIKE '%,' || system || ',%'
                         ORDER BY next_attempt_at, id
                         LIMIT $3 FOR UPDATE SKIP LOCKED",
    )
    .bind(&now)
    .bind(&names)
    .bind(&i64::from(limit));
    let mut jobs = transaction
        .all(statement)
        .await?
        .iter()
        .map(job_record)
        .collect::<Result<Vec<_>, _>>()?;
    for job in &mut jobs {
        job.attempts += 1;
        let statement = sql("UPDATE job SET attempts = $2, leased_until = $3, leased_by = $4 WHERE id = $1");
        let statement = statement.bind(&job.id).bind(&job.attempts).bind(&(now + lease));
        let owner = transaction.instance.to_string();
        transaction.execute(statement.bind(&owner)).await?;
    }
    Ok(jobs)
}

async fn take_back(transaction: &mut Transaction) -> Result<u64, StoreError> {
    let owner = transaction.instance.to_string();
    let statement = sql("UPDATE job SET leased_until = NULL WHERE leased_by = $1 AND leased_until IS NOT NULL");
    transaction.execute(statement.bind(&owner)).await
}

async fn complete(transaction: &mut Transaction, job: &Job) -> Result<(), StoreError> {
    let statement = sql("DELETE FROM job WHERE id = $1 AND generation = $2");
    if transaction
        .execute(statement.bind(&job.id).bind(&job.generation))
        .await?
        == 0
    {
        end_lease_of_older_order(transaction, job).await?;
    }
    Ok(())
}

async fn postpone(
    transaction: &mut Transaction,
    job: &Job,
    error: &str,
    next_attempt_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let state = if next_attempt_at.is_some() {
        JobState::Pending
    } else {
        JobState::Dead
    };
    let statement = sql("UPDATE job
                         SET state = $3, next_attempt_at = $4, last_error = $5, leased_until = NULL
                         WHERE id = $1 AND generation = $2")
    .bind(&job.id)
    .bind(&job.generation)
    .bind(&state)
    .bind(&next_attempt_at.unwrap_or(transaction.now))
    .bind_text(error);
    if transaction.execute(statement).await? == 0 {
        end_lease_of_older_order(transaction, job).await?;
    }
    Ok(())
}

async fn retry(transaction: &mut Transaction, id: Uuid) -> Result<(), RegistryError> {
    let now = transaction.now;
    let statement = sql("UPDATE job SET state = 'pending', attempts = 0, next_attempt_at = $2 WHERE id = $1");
    match transaction.execute(statement.bind(&id).bind(&now)).await? {
        0 => Err(RegistryError::Unknown),
        _ => Ok(()),
    }
}

async fn hasten(transaction: &mut Transaction, system: System) -> Result<u64, StoreError> {
    let now = transaction.now;
    let statement = sql("UPDATE job
                         SET created_at = CASE WHEN state = 'dead' THEN $2 ELSE created_at END,
                             state = 'pending', next_attempt_at = $2
                         WHERE system = $1 AND (state = 'dead' OR next_attempt_at > $2)");
    transaction.execute(statement.bind(&system).bind(&now)).await
}

/// A newer order took this one's place while it was carried out: it need not wait for the rest of the lease, unless
/// somebody has already begun it.
async fn end_lease_of_older_order(transaction: &mut Transaction, job: &Job) -> Result<(), StoreError> {
    let statement = sql("UPDATE job SET leased_until = NULL WHERE id = $1 AND generation > $2 AND attempts = 0");
    transaction
        .execute(statement.bind(&job.id).bind(&job.generation))
        .await
        .map(drop)
}

fn job_record(row: &Row) -> Result<Job, StoreError> {
    Ok(Job {
        id: row.get("id")?,
        device_id: row.get("device_id")?,
        system: row.get("system")?,
        action: row.get("action")?,
        state: row.get("state")?,
        generation: row.get("generation")?,
        attempts: row.get("attempts")?,
        created_at: row.get("created_at")?,
        next_attempt_at: row.get("next_attempt_at")?,
        last_error: row.optional("last_error")?,
    })
}
