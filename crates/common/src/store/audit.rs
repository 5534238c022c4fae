//! The audit trail: one hash chain for each instance, written in the transaction of the change it records.

use async_trait::async_trait;

use super::Store;
use super::given::sql_given;
use super::statement::{Row, Values, milliseconds, row, sql, sql_about};
use super::transaction::{Transaction, in_transaction};
use crate::domain::{Actor, AuditEvent, AuditFilter, AuditRecord, AuditTrail, DeviceId, Digest, StoreError, Timestamp};

/// What the first record of a chain has before it.
const CHAIN_START: Digest = Digest([0; 32]);

/// How many records are verified at a time.
const VERIFY_BATCH: usize = 1000;

#[async_trait]
impl AuditTrail for Store {
    async fn record(&self, event: &AuditEvent) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| async {
            transaction.record(event.clone());
            Ok(())
        })
        .await
    }

    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, StoreError> {
        let rows = self
            .all(
                sql(
                    "SELECT instance, sequence, recorded_at, actor, action, device_id, detail, hash
                     FROM audit
                     WHERE ($1 IS NULL OR device_id = $1) AND ($2 IS NULL OR recorded_at < $2)
                     ORDER BY recorded_at DESC, instance, sequence DESC
                     LIMIT $3",
                )
                .bind_optional(filter.device_id.as_ref())
                .bind_optional(filter.before.as_ref())
                .bind(&i64::from(filter.limit.clamp(1, 1000))),
            )
            .await?;
        rows.iter().map(audit_record).collect()
    }

    async fn verify_audit(&self) -> Result<Vec<String>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let statement = sql("SELECT instance, sequence, hash FROM audit_head ORDER BY instance");
        let mut faults = Vec::new();
        for head in snapshot.all(statement).await? {
            faults.extend(verify_chain(&mut snapshot, &head).await?);
        }
        let statement =
            sql("SELECT DISTINCT instance FROM audit WHERE instance NOT IN (SELECT instance FROM audit_head)");
        for row in snapshot.all(statement).await? {
            faults.push(format!(
                "the audit chain of `{}` has no head",
                row.get::<String>("instance")?
            ));
        }
        Ok(faults)
    }
}

/// Has it recorded what someone did to a device, when the transaction is committed.
pub(super) fn append_about(
    transaction: &mut Transaction,
    actor: Actor,
    action: &'static str,
    device_id: &DeviceId,
    detail: serde_json::Value,
) {
    transaction.record(AuditEvent {
        actor,
        action,
        device_id: Some(device_id.clone()),
        detail,
    });
}

/// Writes the records of a transaction, as its last step: from here to the commit the chain of this instance is
/// locked.
pub(super) async fn write(transaction: &mut Transaction, events: &[AuditEvent]) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let (mut sequence, mut hash) = lock_head(transaction).await?;
    let instance = transaction.instance.to_string();
    let last = sequence + i64::try_from(events.len()).unwrap_or(i64::MAX);
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        sequence += 1;
        let link = Link {
            instance: instance.clone(),
            sequence,
            recorded_at: transaction.now,
            actor: event.actor.to_string(),
            action: event.action.to_owned(),
            device_id: event.device_id.as_ref().map(ToString::to_string),
            detail: event.detail.to_string(),
            previous_hash: hash,
        };
        hash = link.hash();
        rows.push(link.into_row(&hash, last));
    }
    let texts = sql_given!(
        (instance, sequence, recorded_at, actor, action, device_id, detail, previous_hash: bytes, hash: bytes, last)
        records: "INSERT INTO audit
                      (instance, sequence, recorded_at, actor, action, device_id, detail, previous_hash, hash)
                  SELECT instance, sequence, recorded_at, actor, action, device_id, detail, previous_hash, hash
                  FROM given",
        head: "UPDATE audit_head SET sequence = given.sequence, hash = given.hash
               FROM given WHERE audit_head.instance = given.instance AND given.sequence = given.last"
    );
    transaction.change(sql_about(texts, rows), events.len() + 1).await
}

/// Locks the end of this instance's chain, and begins the chain if there is none.
async fn lock_head(transaction: &mut Transaction) -> Result<(i64, Digest), StoreError> {
    let instance = transaction.instance.to_string();
    loop {
        let statement = sql("SELECT sequence, hash FROM audit_head WHERE instance = $1 FOR UPDATE");
        if let Some(head) = transaction.optional(statement.bind(&instance)).await? {
            return Ok((head.get("sequence")?, head.get("hash")?));
        }
        let statement =
            sql("INSERT INTO audit_head (instance, sequence, hash) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING");
        transaction
            .execute(statement.bind(&instance).bind(&CHAIN_START))
            .await?;
    }
}

/// Follows one chain from its start to its head; says what does not fit first.
async fn verify_chain(snapshot: &mut Transaction, head: &Row) -> Result<Option<String>, StoreError> {
    let instance: String = head.get("instance")?;
    let (mut sequence, mut hash) = (0_i64, CHAIN_START);
    loop {
        let statement = sql(
            "SELECT instance, sequence, recorded_at, actor, action, device_id, detail, previous_hash, hash
                             FROM audit WHERE instance = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        );
        let batch = i64::try_from(VERIFY_BATCH).expect("a small constant");
        let rows = snapshot
            .all(statement.bind(&instance).bind(&sequence).bind(&batch))
            .await?;
        for row in &rows {
            let link = Link::from_row(row)?;
            if link.sequence != sequence + 1 {
                return Ok(Some(format!(
                    "the audit chain of `{instance}` has a gap after record {sequence}"
                )));
            }
            if link.previous_hash != hash || link.hash() != row.get("hash")? {
                return Ok(Some(format!(
                    "record {} of the audit chain of `{instance}` was changed",
                    link.sequence
                )));
            }
            (sequence, hash) = (link.sequence, link.hash());
        }
        if rows.len() < VERIFY_BATCH {
            break;
        }
    }
    let is_complete = sequence == head.get::<i64>("sequence")? && hash == head.get("hash")?;
    Ok((!is_complete).then(|| format!("the audit chain of `{instance}` does not end at its head")))
}

/// A record with all that its hash covers, in the very form that is stored.
struct Link {
    instance: String,
    sequence: i64,
    recorded_at: Timestamp,
    actor: String,
    action: String,
    device_id: Option<String>,
    detail: String,
    previous_hash: Digest,
}

impl Link {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            instance: row.get("instance")?,
            sequence: row.get("sequence")?,
            recorded_at: row.get("recorded_at")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            device_id: row.optional("device_id")?,
            detail: row.get("detail")?,
            previous_hash: row.get("previous_hash")?,
        })
    }

    fn into_row(self, hash: &Digest, last: i64) -> Values {
        row()
            .bind_owned(self.instance)
            .bind(&self.sequence)
            .bind(&self.recorded_at)
            .bind_owned(self.actor)
            .bind_owned(self.action)
            .bind_optional(self.device_id.as_ref())
            .bind_owned(self.detail)
            .bind(&self.previous_hash)
            .bind(hash)
            .bind(&last)
    }

    /// Hashes every field with its length before it (eight bytes, big endian), so that no two records have one
    /// encoding; a missing device is an empty field, which no device id is.
    fn hash(&self) -> Digest {
        let fields = [
            self.instance.as_bytes(),
            &self.sequence.to_be_bytes(),
            &milliseconds(self.recorded_at).to_be_bytes(),
            self.actor.as_bytes(),
            self.action.as_bytes(),
            self.device_id.as_deref().unwrap_or_default().as_bytes(),
            self.detail.as_bytes(),
            &self.previous_hash.0,
        ];
        let mut encoded = Vec::with_capacity(512);
        for field in fields {
            encoded.extend_from_slice(&(field.len() as u64).to_be_bytes());
            encoded.extend_from_slice(field);
        }
        Digest::of(&encoded)
    }
}

fn audit_record(row: &Row) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        instance: row.get("instance")?,
        sequence: row.get("sequence")?,
        at: row.get("recorded_at")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        device_id: row.optional("device_id")?,
        detail: row.get("detail")?,
        hash: row.get::<Digest>("hash")?.to_string(),
    })
}
