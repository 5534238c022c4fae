//! The standing orders to outside systems.
//!
//! What a worker does to them is [`Repeatable`]: it leaves no audit record, and a worker that another one follows too
//! early, because its claim was lost, looks at the device again after each step and does what the record says then.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::given::sql_given;
use super::statement::{Row, Values, row, sql, sql_about};
use super::transaction::{Repeatable, Transaction, in_transaction};
use super::{Store, audit};
use crate::domain::{
    Actor, CertificateState, DeviceId, Job, JobAction, JobCount, JobQueue, JobState, RegistryError, StoreError, System,
    Timestamp,
};

#[async_trait]
impl JobQueue for Store {
    async fn claim(&self, system: System, limit: u16, lease: Duration) -> Result<Vec<Job>, StoreError> {
        let worker = Repeatable(self);
        in_transaction!(worker, |transaction| claim(transaction, system, limit, lease)).await
    }

    async fn take_back(&self) -> Result<u64, StoreError> {
        in_transaction!(self, |transaction| take_back(transaction)).await
    }

    async fn resume_enrollments(&self, begun_before: Timestamp) -> Result<usize, StoreError> {
        in_transaction!(self, |transaction| resume_enrollments(transaction, begun_before)).await
    }

    async fn complete(&self, jobs: &[Job]) -> Result<(), StoreError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let worker = Repeatable(self);
        in_transaction!(worker, |transaction| complete(transaction, jobs)).await
    }

    async fn postpone(&self, job: &Job, error: &str, next_attempt_at: Option<Timestamp>) -> Result<(), StoreError> {
        let worker = Repeatable(self);
        in_transaction!(worker, |transaction| postpone(transaction, job, error, next_attempt_at)).await
    }

    async fn jobs(&self, state: Option<JobState>) -> Result<Vec<Job>, StoreError> {
        let statement = sql(
            "SELECT id, device_id, system, action, state, generation, attempts, refusals, created_at,
                                    next_attempt_at, last_error
                             FROM job WHERE ($1 IS NULL OR state = $1) ORDER BY created_at, id LIMIT 1000",
        );
        self.all(statement.bind_optional(state.as_ref()))
            .await?
            .iter()
            .map(job_record)
            .collect()
    }

    async fn jobs_of(&self, device: &DeviceId) -> Result<Vec<Job>, StoreError> {
        let statement = sql(
            "SELECT id, device_id, system, action, state, generation, attempts, refusals, created_at,
                                    next_attempt_at, last_error
                             FROM job WHERE device_id = $1 AND state = 'pending' ORDER BY system",
        );
        self.all(statement.bind(device)).await?.iter().map(job_record).collect()
    }

    async fn count_jobs(&self) -> Result<Vec<JobCount>, StoreError> {
        let statement = sql("SELECT system, state, count(*) AS jobs, min(created_at) AS oldest
                             FROM job GROUP BY system, state");
        let counts = self.all(statement).await?;
        let count = |row: &Row| {
            Ok(JobCount {
                system: row.get("system")?,
                state: row.get("state")?,
                count: row.get("jobs")?,
                oldest: row.get("oldest")?,
            })
        };
        counts.iter().map(count).collect()
    }

    async fn retry(&self, id: Uuid, by: &Actor) -> Result<(), RegistryError> {
        in_transaction!(self, |transaction| retry(transaction, id, by)).await
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
    let orders: Vec<_> = systems.iter().map(|&system| Order { device, system, action }).collect();
    place_all(transaction, &orders).await
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
             refusals = 0, created_at = excluded.created_at, next_attempt_at = excluded.next_attempt_at, last_error = NULL"
    );
    transaction.execute(sql_about(texts, rows.collect())).await.map(drop)
}

async fn claim(
    transaction: &mut Transaction,
    system: System,
    limit: u16,
    lease: Duration,
) -> Result<Vec<Job>, StoreError> {
    let now = transaction.now;
    let statement = sql(
        "SELECT id, device_id, system, action, state, generation, attempts, refusals, created_at,
                                next_attempt_at, last_error
                         FROM job
                         WHERE system = $1 AND state = 'pending' AND next_attempt_at <= $2
                             AND (leased_until IS NULL OR leased_until <= $2)
                         ORDER BY next_attempt_at, id
                         LIMIT $3 FOR UPDATE SKIP LOCKED",
    )
    .bind(&system)
    .bind(&now)
    .bind(&i64::from(limit));
    let due = transaction.all(statement).await?;
    let mut jobs = due.iter().map(job_record).collect::<Result<Vec<_>, _>>()?;
    if jobs.is_empty() {
        return Ok(jobs);
    }
    let (until, owner) = (now + lease, transaction.instance.to_string());
    for job in &mut jobs {
        job.attempts += 1;
    }
    let rows = jobs.iter().map(|job| {
        let row = row().bind(&job.id).bind(&job.attempts);
        row.bind(&until).bind(&owner)
    });
    let texts = sql_given!(
        (id, attempts, until, owner)
        "UPDATE job SET attempts = given.attempts, leased_until = given.until, leased_by = given.owner
         FROM given WHERE job.id = given.id"
    );
    transaction.execute(sql_about(texts, rows.collect())).await?;
    Ok(jobs)
}

async fn take_back(transaction: &mut Transaction) -> Result<u64, StoreError> {
    let owner = transaction.instance.to_string();
    let statement = sql("UPDATE job SET leased_until = NULL WHERE leased_by = $1 AND leased_until IS NOT NULL");
    transaction.execute(statement.bind(&owner)).await
}

async fn resume_enrollments(transaction: &mut Transaction, begun_before: Timestamp) -> Result<usize, StoreError> {
    let statement = sql("SELECT device.id, certificate.state
                         FROM device JOIN certificate ON certificate.id = device.certificate_id
                         WHERE device.state = 'admitted' AND certificate.state IN ('intended', 'active')
                             AND certificate.created_at < $1
                             AND NOT EXISTS (SELECT 1 FROM job WHERE job.device_id = device.id
                                                 AND job.system IN ('certificate_authority', 'vpn'))
                         ORDER BY certificate.created_at LIMIT 1000 FOR UPDATE OF device SKIP LOCKED");
    let rows = transaction.all(statement.bind(&begun_before)).await?;
    let stopped = rows.iter().map(|row| Ok((row.get("id")?, row.get("state")?)));
    let stopped = stopped.collect::<Result<Vec<(DeviceId, CertificateState)>, StoreError>>()?;
    let orders = stopped.iter().map(|(device, state)| Order {
        device,
        system: if *state == CertificateState::Intended {
            System::CertificateAuthority
        } else {
            System::Vpn
        },
        action: JobAction::Ensure,
    });
    place_all(transaction, &orders.collect::<Vec<_>>()).await?;
    Ok(stopped.len())
}

async fn complete(transaction: &mut Transaction, jobs: &[Job]) -> Result<(), StoreError> {
    lock(transaction, jobs).await?;
    let texts = sql_given!(
        (id, generation)
        "DELETE FROM job WHERE (id, generation) IN (SELECT id, generation FROM given)"
    );
    let rows = jobs.iter().map(row_of_order).collect();
    let gone = transaction.execute(sql_about(texts, rows)).await?;
    if gone < u64::try_from(jobs.len()).unwrap_or(u64::MAX) {
        end_lease_of_older_orders(transaction, jobs).await?;
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
                         SET state = $3, next_attempt_at = $4, last_error = $5, refusals = $6, leased_until = NULL
                         WHERE id = $1 AND generation = $2")
    .bind(&job.id)
    .bind(&job.generation)
    .bind(&state)
    .bind(&next_attempt_at.unwrap_or(transaction.now))
    .bind_text(error)
    .bind(&job.refusals);
    if transaction.execute(statement).await? == 0 {
        end_lease_of_older_orders(transaction, std::slice::from_ref(job)).await?;
    }
    Ok(())
}

async fn retry(transaction: &mut Transaction, id: Uuid, by: &Actor) -> Result<(), RegistryError> {
    let now = transaction.now;
    let statement = sql("SELECT device_id, system FROM job WHERE id = $1 FOR UPDATE");
    let row = transaction.optional(statement.bind(&id)).await?;
    let row = row.ok_or(RegistryError::Unknown)?;
    let (device, system): (DeviceId, System) = (row.get("device_id")?, row.get("system")?);
    let statement = sql("UPDATE job
                         SET created_at = CASE WHEN state = 'dead' THEN $2 ELSE created_at END,
                             state = 'pending', attempts = 0, refusals = 0, next_attempt_at = $2
                         WHERE id = $1");
    transaction.execute(statement.bind(&id).bind(&now)).await?;
    let detail = serde_json::json!({ "job": id, "system": system });
    audit::append_about(transaction, by.clone(), "job.retried", &device, detail);
    Ok(())
}

async fn hasten(transaction: &mut Transaction, system: System) -> Result<u64, StoreError> {
    let now = transaction.now;
    let statement = sql("UPDATE job
                         SET created_at = CASE WHEN state = 'dead' THEN $2 ELSE created_at END,
                             refusals = CASE WHEN state = 'dead' THEN 0 ELSE refusals END,
                             state = 'pending', next_attempt_at = $2
                         WHERE system = $1 AND (state = 'dead' OR next_attempt_at > $2)");
    transaction.execute(statement.bind(&system).bind(&now)).await
}

/// Keeps others from changing orders, in the order in which [`place_all`] changes them: nobody waits for whoever waits
/// for him.
async fn lock(transaction: &mut Transaction, jobs: &[Job]) -> Result<(), StoreError> {
    let texts = sql_given!(
        (id)
        "SELECT id FROM job WHERE id IN (SELECT id FROM given) ORDER BY device_id, system FOR UPDATE"
    );
    let rows = jobs.iter().map(|job| row().bind(&job.id)).collect();
    transaction.all(sql_about(texts, rows)).await.map(drop)
}

/// Newer orders took the place of some of these while they were carried out: they need not wait for the rest of the
/// lease, unless somebody has already begun them.
async fn end_lease_of_older_orders(transaction: &mut Transaction, jobs: &[Job]) -> Result<(), StoreError> {
    let texts = sql_given!(
        (id, generation)
        "UPDATE job SET leased_until = NULL
         FROM given WHERE job.id = given.id AND job.generation > given.generation AND job.attempts = 0"
    );
    let rows = jobs.iter().map(row_of_order).collect();
    transaction.execute(sql_about(texts, rows)).await.map(drop)
}

fn row_of_order(job: &Job) -> Values {
    row().bind(&job.id).bind(&job.generation)
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
        refusals: row.get("refusals")?,
        created_at: row.get("created_at")?,
        next_attempt_at: row.get("next_attempt_at")?,
        last_error: row.optional("last_error")?,
    })
}
