//! What others tell us of devices.

use async_trait::async_trait;

use super::statement::sql;
use super::transaction::{Transaction, in_transaction};
use super::{Store, devices, jobs};
use crate::domain::{
    Device, DeviceState, EventInbox, EventOrders, EventOutcome, JobAction, PlatformEvent, PlatformEventKind,
    StoreError, Timestamp,
};

#[async_trait]
impl EventInbox for Store {
    async fn record_event(&self, event: &PlatformEvent, orders: &EventOrders) -> Result<EventOutcome, StoreError> {
        in_transaction!(self, |transaction| record(transaction, event, orders)).await
    }

    async fn forget_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        in_transaction!(self, |transaction| forget(transaction, time)).await
    }
}

async fn record(
    transaction: &mut Transaction,
    event: &PlatformEvent,
    orders: &EventOrders,
) -> Result<EventOutcome, StoreError> {
    let now = transaction.now;
    let statement = sql(
        "INSERT INTO platform_event (digest, device_id, kind, happened_at, received_at)
                         VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
    )
    .bind(&event.digest)
    .bind(&event.device_id)
    .bind(&event.kind)
    .bind(&event.happened_at)
    .bind(&now);
    if transaction.execute(statement).await? == 0 {
        return Ok(EventOutcome::Duplicate);
    }
    let Some(standing) = devices::lock(transaction, &event.device_id).await? else {
        return Ok(EventOutcome::NobodyOfOurs);
    };
    apply(transaction, event, orders, &standing.device).await
}

async fn apply(
    transaction: &mut Transaction,
    event: &PlatformEvent,
    orders: &EventOrders,
    device: &Device,
) -> Result<EventOutcome, StoreError> {
    let (systems, action) = match device.state {
        DeviceState::Admitted => return Ok(EventOutcome::NobodyOfOurs),
        DeviceState::Enrolled => (&orders.in_service, JobAction::Ensure),
        DeviceState::Quarantined | DeviceState::Retired => (&orders.shut_out, JobAction::Remove),
    };
    let is_proof_of_life = event.kind == PlatformEventKind::Connected && device.state == DeviceState::Enrolled;
    if is_proof_of_life && device.last_connected_at.is_none_or(|last| last < event.happened_at) {
        let statement = sql("UPDATE device SET last_connected_at = $2 WHERE id = $1");
        transaction
            .execute(statement.bind(&device.id).bind(&event.happened_at))
            .await?;
    }
    jobs::place(transaction, &device.id, systems, action).await?;
    Ok(EventOutcome::Recorded)
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
