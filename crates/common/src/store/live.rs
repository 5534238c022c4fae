//! What the hub sees of devices. Written rarely: it is the one thing here that changes by itself, for every device.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;

use super::Store;
use super::given::sql_given;
use super::statement::{Row, row, sql, sql_about};
use super::transaction::{Transaction, in_transaction};
use crate::domain::{DeviceId, LiveFacts, StoreError, Timestamp, is_online};

/// The most often that a device's facts are written, unless it comes or goes. Whoever brings them every 30 s is a little
/// early now and then.
const WRITE_INTERVAL: Duration = Duration::from_secs(25);
/// How many devices are written in one transaction, so that enrollments get their turn between.
const BATCH: usize = 256;

impl Store {
    pub(super) async fn record_live_facts(&self, facts: &[LiveFacts]) -> Result<(), StoreError> {
        if facts.is_empty() {
            return Ok(());
        }
        let now = self.shared.clock.now();
        let devices = facts.iter().map(|facts| row().bind(&facts.device_id)).collect();
        let texts = sql_given!(
            (device)
            "SELECT device_id, online, last_handshake_at, recorded_at
             FROM given CROSS JOIN device_live
             WHERE device_id = given.device"
        );
        let known = self
            .all(sql_about(texts, devices))
            .await?
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
        insert_events(transaction, &[(device.clone(), false)]).await?;
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
    // Of a device that never came there is nothing to write.
    let Some(recorded) = recorded else {
        return facts.last_handshake_at.is_some();
    };
    recorded.online != is_online(facts.last_handshake_at, now)
        || recorded.had_handshake != facts.last_handshake_at.is_some()
        || now - recorded.at >= WRITE_INTERVAL
}

/// Writes the facts of several devices, with few statements and in the order of their ids, and an event for each that
/// has come or gone.
async fn record_batch(transaction: &mut Transaction, batch: &[&LiveFacts]) -> Result<(), StoreError> {
    let batch: BTreeMap<_, _> = batch.iter().map(|facts| (&facts.device_id, *facts)).collect();
    mark_keys_used(transaction, batch.values().copied()).await?;
    let were_online = online_among(transaction, batch.keys().copied()).await?;
    let mut turned = Vec::new();
    for (device, online) in write(transaction, batch.values().copied()).await? {
        if online != were_online.contains(&device) {
            turned.push((device, online));
        }
    }
    insert_events(transaction, &turned).await
}

/// Locks what is on record of devices, and returns those that were online.
async fn online_among(
    transaction: &mut Transaction,
    devices: impl Iterator<Item = &DeviceId>,
) -> Result<HashSet<DeviceId>, StoreError> {
    let rows = devices.map(|device| row().bind(device)).collect();
    let texts = sql_given!(
        (device)
        "SELECT device_id, online FROM device_live WHERE device_id IN (SELECT device FROM given)
         ORDER BY device_id FOR UPDATE"
    );
    let mut online = HashSet::new();
    for row in transaction.all(sql_about(texts, rows)).await? {
        if row.get("online")? {
            online.insert(row.get("device_id")?);
        }
    }
    Ok(online)
}

/// Writes facts, and says of which devices, and whether they are online. A peer that is nobody's, as is one with a key
/// that was replaced since the hub was looked at, is the reconciler's business.
async fn write(
    transaction: &mut Transaction,
    facts: impl Iterator<Item = &LiveFacts>,
) -> Result<Vec<(DeviceId, bool)>, StoreError> {
    let now = transaction.now;
    let rows = facts.map(|facts| {
        row()
            .bind(&facts.device_id)
            .bind(&facts.key)
            .bind(&is_online(facts.last_handshake_at, now))
            .bind_optional(facts.last_handshake_at.as_ref())
            .bind_optional(facts.endpoint.as_ref())
            .bind(&facts.received_bytes)
            .bind(&facts.sent_bytes)
            .bind(&now)
    });
    let texts = sql_given!(
        (device, key: bytes, online, handshake, endpoint, received, sent, now)
        "INSERT INTO device_live
             (device_id, online, last_handshake_at, endpoint, received_bytes, sent_bytes, recorded_at)
         SELECT id, given.online, given.handshake, given.endpoint, given.received, given.sent, given.now
         FROM given CROSS JOIN device
         WHERE id = given.device AND wireguard_key = given.key AND state IN ('admitted', 'enrolled')
         ORDER BY id
         ON CONFLICT (device_id) DO UPDATE
         SET online = excluded.online, last_handshake_at = excluded.last_handshake_at, endpoint = excluded.endpoint,
             received_bytes = excluded.received_bytes, sent_bytes = excluded.sent_bytes,
             recorded_at = excluded.recorded_at
         RETURNING device_id, online"
    );
    let written = transaction.all(sql_about(texts, rows.collect())).await?;
    written
        .iter()
        .map(|row| Ok((row.get("device_id")?, row.get("online")?)))
        .collect()
}

/// Records for all time that devices used their present keys, whatever becomes of these facts. Before the facts: whoever
/// replaces a key locks in this order.
async fn mark_keys_used(
    transaction: &mut Transaction,
    facts: impl Iterator<Item = &LiveFacts>,
) -> Result<(), StoreError> {
    let now = transaction.now;
    let used = facts.filter(|facts| facts.last_handshake_at.is_some());
    let rows = used.map(|facts| row().bind(&facts.device_id).bind(&facts.key).bind(&now));
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let texts = sql_given!(
        (device, key: bytes, now)
        "UPDATE wireguard_key SET first_used_at = given.now FROM given
         WHERE public_key = given.key AND device_id = given.device AND replaced_at IS NULL AND first_used_at IS NULL"
    );
    transaction.execute(sql_about(texts, rows)).await.map(drop)
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

/// Records that devices came, or went.
async fn insert_events(transaction: &mut Transaction, turned: &[(DeviceId, bool)]) -> Result<(), StoreError> {
    if turned.is_empty() {
        return Ok(());
    }
    let now = transaction.now;
    let rows = turned.iter().map(|(device, online)| {
        let kind = if *online { "connected" } else { "disconnected" };
        row()
            .bind(&Uuid::now_v7())
            .bind(device)
            .bind(&kind.to_owned())
            .bind(&now)
    });
    let texts = sql_given!(
        (id, device, kind, now)
        "INSERT INTO device_event (id, device_id, kind, recorded_at) SELECT id, device, kind, now FROM given"
    );
    transaction.execute(sql_about(texts, rows.collect())).await.map(drop)
}
