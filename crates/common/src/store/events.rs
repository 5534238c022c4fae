//! What others tell us of devices.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::given::sql_given;
use super::group_commit::Change;
use super::jobs::Order;
use super::statement::{row, sql, sql_about};
use super::transaction::{Transaction, in_transaction};
use super::{Store, jobs};
use crate::domain::{
    DeviceId, DeviceState, Digest, EventInbox, EventOrders, EventOutcome, JobAction, PlatformEvent, PlatformEventKind,
    StoreError, Timestamp,
};

#[async_trait]
impl EventInbox for Store {
    async fn record_event(&self, event: &PlatformEvent, orders: &EventOrders) -> Result<EventOutcome, StoreError> {
        let (event, orders) = (event.clone(), orders.clone());
        self.commit(RecordEvent { event, orders }).await
    }

    async fn forget_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        in_transaction!(self, |transaction| forget(transaction, time)).await
    }
}

struct RecordEvent {
    event: PlatformEvent,
    orders: EventOrders,
}

#[async_trait]
impl Change for RecordEvent {
    type Done = EventOutcome;
    type Refused = StoreError;

    async fn write(&self, transaction: &mut Transaction) -> Result<EventOutcome, StoreError> {
        let outcome = record(transaction, &[self]).await?.pop();
        outcome.ok_or(StoreError::Corrupt {
            column: "platform_event.digest",
        })
    }

    async fn write_plain(
        transaction: &mut Transaction,
        changes: &[Arc<Self>],
    ) -> Result<Vec<Option<EventOutcome>>, StoreError> {
        let changes: Vec<&Self> = changes.iter().map(Arc::as_ref).collect();
        Ok(record(transaction, &changes).await?.into_iter().map(Some).collect())
    }
}

/// Records facts and the orders that follow; says of each what became of it.
async fn record(transaction: &mut Transaction, told: &[&RecordEvent]) -> Result<Vec<EventOutcome>, StoreError> {
    let mut new = insert(transaction, told).await?;
    let is_new: Vec<bool> = told.iter().map(|told| new.remove(&told.event.digest)).collect();
    let news: Vec<&RecordEvent> = told
        .iter()
        .zip(&is_new)
        .filter(|(_, is_new)| **is_new)
        .map(|it| *it.0)
        .collect();
    let states = lock_devices(transaction, &news).await?;
    let (mut orders, mut seen) = (Vec::new(), Vec::new());
    for told in &news {
        let event = &told.event;
        let (systems, action) = match states.get(&event.device_id) {
            None | Some(DeviceState::Admitted) => continue,
            Some(DeviceState::Enrolled) => (&told.orders.in_service, JobAction::Ensure),
            Some(DeviceState::Quarantined | DeviceState::Retired) => (&told.orders.shut_out, JobAction::Remove),
        };
        let device = &event.device_id;
        orders.extend(systems.iter().map(|&system| Order { device, system, action }));
        let is_in_service = states.get(device) == Some(&DeviceState::Enrolled);
        if event.kind == PlatformEventKind::Connected && is_in_service {
            seen.push(event);
        }
    }
    move_forward(transaction, &seen).await?;
    jobs::place_all(transaction, &orders).await?;
    let outcome = |(told, is_new): (&&RecordEvent, bool)| match states.get(&told.event.device_id) {
        _ if !is_new => EventOutcome::Duplicate,
        None | Some(DeviceState::Admitted) => EventOutcome::NobodyOfOurs,
        Some(DeviceState::Enrolled | DeviceState::Quarantined | DeviceState::Retired) => EventOutcome::Recorded,
    };
    Ok(told.iter().zip(is_new).map(outcome).collect())
}

/// Writes facts down; returns those that were not known.
async fn insert(transaction: &mut Transaction, told: &[&RecordEvent]) -> Result<HashSet<Digest>, StoreError> {
    let now = transaction.now;
    // In one order everywhere, so that nobody waits for whoever waits for him.
    let events: BTreeMap<_, _> = told.iter().map(|told| (told.event.digest.0, &told.event)).collect();
    let rows = events.values().map(|event| {
        let row = row().bind(&event.digest).bind(&event.device_id).bind(&event.kind);
        row.bind(&event.happened_at).bind(&now)
    });
    let texts = sql_given!(
        (digest: bytes, device, kind, happened_at, now)
        "INSERT INTO platform_event (digest, device_id, kind, happened_at, received_at)
         SELECT digest, device, kind, happened_at, now FROM given WHERE true
         ON CONFLICT DO NOTHING
         RETURNING digest"
    );
    let rows = transaction.all(sql_about(texts, rows.collect())).await?;
    rows.iter().map(|row| row.get("digest")).collect()
}

/// Reads the states of the devices that facts are about, and keeps others from changing them.
async fn lock_devices(
    transaction: &mut Transaction,
    news: &[&RecordEvent],
) -> Result<HashMap<DeviceId, DeviceState>, StoreError> {
    let devices: BTreeSet<_> = news.iter().map(|told| &told.event.device_id).collect();
    if devices.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = devices.into_iter().map(|device| row().bind(device)).collect();
    let texts = sql_given!(
        (device)
        "SELECT id, state FROM device WHERE id IN (SELECT device FROM given) ORDER BY id FOR UPDATE"
    );
    let rows = transaction.all(sql_about(texts, rows)).await?;
    rows.iter().map(|row| Ok((row.get("id")?, row.get("state")?))).collect()
}

/// Notes when devices were last connected, unless something later is known.
async fn move_forward(transaction: &mut Transaction, seen: &[&PlatformEvent]) -> Result<(), StoreError> {
    let mut latest: BTreeMap<&DeviceId, Timestamp> = BTreeMap::new();
    for event in seen {
        let last = latest.entry(&event.device_id).or_insert(event.happened_at);
        *last = event.happened_at.max(*last);
    }
    if latest.is_empty() {
        return Ok(());
    }
    let rows = latest
        .into_iter()
        .map(|(device, at)| row().bind(device).bind(&at))
        .collect();
    let texts = sql_given!(
        (device, happened_at)
        "UPDATE device SET last_connected_at = given.happened_at
         FROM given
         WHERE device.id = given.device
             AND (device.last_connected_at IS NULL OR device.last_connected_at < given.happened_at)"
    );
    transaction.execute(sql_about(texts, rows)).await.map(drop)
}

async fn forget(transaction: &mut Transaction, time: Timestamp) -> Result<u64, StoreError> {
    let events = sql("DELETE FROM platform_event WHERE received_at < $1");
    let events = transaction.execute(events.bind(&time)).await?;
    let reports = sql("DELETE FROM update_report
                       WHERE recorded_at < $1 AND told = 1 AND EXISTS
                           (SELECT 1 FROM update_report AS newer
                            WHERE newer.device_id = update_report.device_id
                                AND newer.changed_at > update_report.changed_at)");
    Ok(events + transaction.execute(reports.bind(&time)).await?)
}
