//! The devices' keys to the metrics store.

use async_trait::async_trait;

use super::Store;
use super::statement::sql;
use super::transaction::{Transaction, in_transaction};
use crate::domain::{DeviceId, MetricsKeys, SealedMetricsKey, StoreError};

#[async_trait]
impl MetricsKeys for Store {
    async fn metrics_key(&self, id: &DeviceId) -> Result<Option<SealedMetricsKey>, StoreError> {
        let statement = sql("SELECT reference, sealed FROM metrics_key WHERE device_id = $1");
        let row = self.optional(statement.bind(id)).await?;
        row.map(|row| {
            Ok(SealedMetricsKey {
                reference: row.get("reference")?,
                sealed: row.get("sealed")?,
            })
        })
        .transpose()
    }

    async fn keep_metrics_key(&self, id: &DeviceId, key: &SealedMetricsKey) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| keep(transaction, id, key)).await
    }

    async fn forget_metrics_key(&self, id: &DeviceId) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| forget(transaction, id)).await
    }
}

async fn keep(transaction: &mut Transaction, id: &DeviceId, key: &SealedMetricsKey) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql(
        "INSERT INTO metrics_key (device_id, reference, sealed, created_at) VALUES ($1, $2, $3, $4)
                         ON CONFLICT (device_id) DO UPDATE
                         SET reference = excluded.reference, sealed = excluded.sealed,
                             created_at = excluded.created_at",
    )
    .bind(id)
    .bind(&key.reference)
    .bind(&key.sealed)
    .bind(&now);
    transaction.execute(statement).await.map(drop)
}

async fn forget(transaction: &mut Transaction, id: &DeviceId) -> Result<(), StoreError> {
    let statement = sql("DELETE FROM metrics_key WHERE device_id = $1");
    transaction.execute(statement.bind(id)).await.map(drop)
}
