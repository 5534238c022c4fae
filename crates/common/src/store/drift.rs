//! What comparisons with other systems found, and who may compare.

use std::time::Duration;

use async_trait::async_trait;

use super::statement::{Row, sql};
use super::transaction::{Transaction, in_transaction};
use super::{Store, audit, devices, jobs};
use crate::domain::{
    Actor, DeviceId, DeviceState, Drift, DriftKind, DriftLedger, DriftReport, JobAction, StoreError, System,
};

#[async_trait]
impl DriftLedger for Store {
    async fn record_drift(&self, system: System, drifts: &[Drift]) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| record(transaction, system, drifts)).await
    }

    async fn drift(&self) -> Result<DriftReport, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let checked = snapshot
            .all(sql("SELECT system, checked_at FROM comparison ORDER BY system"))
            .await?;
        let drifts = sql("SELECT system, name, kind FROM drift ORDER BY system, name, kind LIMIT 10000");
        let drifts = snapshot.all(drifts).await?;
        Ok(DriftReport {
            checked: checked
                .iter()
                .map(|row| Ok((row.get("system")?, row.get("checked_at")?)))
                .collect::<Result<_, StoreError>>()?,
            drifts: drifts.iter().map(drift).collect::<Result<_, _>>()?,
        })
    }

    async fn order_repairs(&self, drifts: &[Drift], by: &Actor) -> Result<usize, StoreError> {
        in_transaction!(self, |transaction| order_repairs(transaction, drifts, by)).await
    }

    async fn take_lease(&self, name: &'static str, lease: Duration) -> Result<bool, StoreError> {
        in_transaction!(self, |transaction| take_lease(transaction, name, lease)).await
    }

    async fn end_lease(&self, name: &'static str) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| end_lease(transaction, name)).await
    }
}

async fn record(transaction: &mut Transaction, system: System, drifts: &[Drift]) -> Result<(), StoreError> {
    transaction
        .execute(sql("DELETE FROM drift WHERE system = $1").bind(&system))
        .await?;
    for drift in drifts {
        let statement = sql("INSERT INTO drift (system, name, kind) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING");
        transaction
            .execute(statement.bind(&system).bind(&drift.name).bind(&drift.kind))
            .await?;
    }
    let now = transaction.now;
    let statement = sql("INSERT INTO comparison (system, checked_at) VALUES ($1, $2)
                         ON CONFLICT (system) DO UPDATE SET checked_at = excluded.checked_at");
    transaction.execute(statement.bind(&system).bind(&now)).await.map(drop)
}

async fn order_repairs(transaction: &mut Transaction, drifts: &[Drift], by: &Actor) -> Result<usize, StoreError> {
    let mut ordered = 0;
    for drift in drifts.iter().filter(|drift| drift.kind != DriftKind::Foreign) {
        let Ok(id) = DeviceId::parse(&drift.name) else { continue };
        let Some(standing) = devices::lock(transaction, &id).await? else {
            continue;
        };
        let action = match standing.device.state {
            DeviceState::Admitted | DeviceState::Enrolled => JobAction::Ensure,
            DeviceState::Quarantined | DeviceState::Retired => JobAction::Remove,
        };
        jobs::place(transaction, &id, &[drift.system], action).await?;
        let detail = serde_json::json!({ "system": drift.system, "drift": drift.kind });
        audit::append_about(transaction, by.clone(), "drift.repair_ordered", &id, detail);
        ordered += 1;
    }
    Ok(ordered)
}

async fn take_lease(transaction: &mut Transaction, name: &str, lease: Duration) -> Result<bool, StoreError> {
    let (now, holder) = (transaction.now, transaction.instance.to_string());
    let statement = sql("INSERT INTO lease (name, holder, until) VALUES ($1, $2, $3)
                         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
                         WHERE lease.holder = excluded.holder OR lease.until <= $4")
    .bind_text(name)
    .bind(&holder)
    .bind(&(now + lease))
    .bind(&now);
    Ok(transaction.execute(statement).await? == 1)
}

async fn end_lease(transaction: &mut Transaction, name: &str) -> Result<(), StoreError> {
    let holder = transaction.instance.to_string();
    let statement = sql("DELETE FROM lease WHERE name = $1 AND holder = $2").bind_text(name);
    transaction.execute(statement.bind(&holder)).await.map(drop)
}

fn drift(row: &Row) -> Result<Drift, StoreError> {
    Ok(Drift {
        system: row.get("system")?,
        name: row.get("name")?,
        kind: row.get("kind")?,
    })
}
