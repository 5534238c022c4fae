//! What the hub sees of devices. Written rarely: it is the one thing here that changes by itself, for every device.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::Store;
use super::statement::{Row, sql};
use super::transaction::{Transaction, in_transaction};
use crate::domain::{DeviceId, LiveFacts, StoreError, Timestamp};

/// The most often that a device's facts are written, unless it comes or goes.
const WRITE_INTERVAL: Duration = Duration::from_secs(30);
/// A device whose last handshake is older is offline: WireGuard renews a used session every 120 s and gives it up
/// after 180 s (`REJECT_AFTER_TIME`, WireGuard paper §6.1).
const OFFLINE_AFTER: Duration = Duration::from_mins(3);
/// How many devices are written in one transaction, so that enrollments get their turn between.
const BATCH: usize = 256;

impl Store {
    pub(super) async fn record_live_facts(&self, facts: &[LiveFacts]) -> Result<(), StoreError> {
        let now = self.shared.clock.now();
        let rows = self
            .all(sql(
                "SELECT device_id, online, last_handshake_at, recorded_at FROM device_live",
            ))
            .await?;
        let known = rows
            .iter()
            .map(|row| Ok((row.get("device_id")?, Recorded::from_row(row)?)))
            .collect::<Result<HashMap<DeviceId, Recorded>, StoreError>>()?;
        let due: Vec<_> = facts
            .iter()
            .filter(|facts| is_due(known.get(&facts.device_id), facts, now))
            .collect();
        for batch in due.chunks(BATCH) {
            in_transaction!(self, |transaction| record_batch(transaction, batch)).await?;
        }
        Ok(())
    }
}

/// Forgets what was seen of a peer that is no more.
pub(super) async fn forget(transaction: &mut Transaction, device: &DeviceId) -> Result<(), StoreError> {
    if find(transaction, device).await?.is_some_and(|recorded| recorded.online) {
        insert_event(transaction, device, false).await?;
    }
    transaction
        .execute(sql("DELETE FROM device_live WHERE device_id = $1").bind(device))
        .await
        .map(drop)
}

/// What was written of a device.
#[derive(Debug, Clone, Copy)]
struct Recorded {
    online: bool,
    had_handshake: bool,
    at: Timestamp,
}

impl Recorded {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            online: row.get("online")?,
            had_handshake: row.optional::<Timestamp>("last_handshake_at")?.is_some(),
            at: row.get("recorded_at")?,
        })
    }
}

fn is_due(recorded: Option<&Recorded>, facts: &LiveFacts, now: Timestamp) -> bool {
    let Some(recorded) = recorded else {
        return true;
    };
    recorded.online != is_online(facts, now)
        || recorded.had_handshake != facts.last_handshake_at.is_some()
        || now - recorded.at >= WRITE_INTERVAL
}

fn is_online(facts: &LiveFacts, now: Timestamp) -> bool {
    facts
        .last_handshake_at
        .is_some_and(|handshake| now - handshake <= OFFLINE_AFTER)
}

async fn record_batch(transaction: &mut Transaction, batch: &[&LiveFacts]) -> Result<(), StoreError> {
    for facts in batch {
        record(transaction, facts).await?;
    }
    Ok(())
}

async fn record(transaction: &mut Transaction, facts: &LiveFacts) -> Result<(), StoreError> {
    let now = transaction.now;
    let online = is_online(facts, now);
    if facts.last_handshake_at.is_some() {
        mark_key_used(transaction, &facts.device_id).await?;
    }
    let was_online = find(transaction, &facts.device_id)
        .await?
        .is_some_and(|recorded| recorded.online);
    // A peer that is nobody's is the reconciler's business.
    let statement = sql("INSERT INTO device_live
                             (device_id, online, last_handshake_at, endpoint, received_bytes, sent_bytes, recorded_at)
                         SELECT id, $2, $3, $4, $5, $6, $7 FROM device
                         WHERE id = $1 AND state IN ('admitted', 'enrolled')
                         ON CONFLICT (device_id) DO UPDATE
                         SET online = excluded.online, last_handshake_at = excluded.last_handshake_at,
                             endpoint = excluded.endpoint, received_bytes = excluded.received_bytes,
                             sent_bytes = excluded.sent_bytes, recorded_at = excluded.recorded_at")
    .bind(&facts.device_id)
    .bind(&online)
    .bind_optional(facts.last_handshake_at.as_ref())
    .bind_optional(facts.endpoint.as_ref())
    .bind(&facts.received_bytes)
    .bind(&facts.sent_bytes)
    .bind(&now);
    if transaction.execute(statement).await? == 1 && online != was_online {
        insert_event(transaction, &facts.device_id, online).await?;
    }
    Ok(())
}

/// Records for all time that the device used its present key, whatever becomes of these facts. Before the facts:
/// whoever replaces a key locks in this order.
async fn mark_key_used(transaction: &mut Transaction, device: &DeviceId) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql("UPDATE wireguard_key SET first_used_at = $2
                         WHERE device_id = $1 AND replaced_at IS NULL AND first_used_at IS NULL");
    transaction.execute(statement.bind(device).bind(&now)).await.map(drop)
}

async fn find(transaction: &mut Transaction, device: &DeviceId) -> Result<Option<Recorded>, StoreError> {
    let statement =
        sql("SELECT online, last_handshake_at, recorded_at FROM device_live WHERE device_id = $1 FOR UPDATE");
    transaction
        .optional(statement.bind(device))
        .await?
        .as_ref()
        .map(Recorded::from_row)
        .transpose()
}

async fn insert_event(transaction: &mut Transaction, device: &DeviceId, connected: bool) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql("INSERT INTO device_event (id, device_id, kind, recorded_at) VALUES ($1, $2, $3, $4)")
        .bind(&Uuid::now_v7())
        .bind(device)
        .bind_text(if connected { "connected" } else { "disconnected" })
        .bind(&now);
    transaction.execute(statement).await.map(drop)
}
