//! The steps of updates.

use async_trait::async_trait;

use super::statement::{Row, sql};
use super::transaction::{Transaction, in_transaction};
use super::{Store, jobs};
use crate::domain::{
    DeviceId, JobAction, StoreError, System, Timestamp, UpdateHistory, UpdateLedger, UpdateReport, UpdateStatus,
};

#[async_trait]
impl UpdateLedger for Store {
    async fn update_cursor(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = self.optional(sql("SELECT changed_at FROM update_cursor")).await?;
        row.map(|row| row.get("changed_at")).transpose()
    }

    async fn record_updates(
        &self,
        reports: &[UpdateReport],
        cursor: Option<Timestamp>,
        systems: &[System],
    ) -> Result<usize, StoreError> {
        in_transaction!(self, |transaction| record_all(transaction, reports, cursor, systems)).await
    }

    async fn updates_of(&self, id: &DeviceId) -> Result<UpdateHistory, StoreError> {
        let statement = sql(
            "SELECT * FROM (SELECT TRUE AS is_latest, action_id, device_id, status, subject, changed_at
                            FROM update_report WHERE device_id = $1
                            ORDER BY changed_at DESC, action_id DESC LIMIT 1) AS latest
             UNION ALL
             SELECT * FROM (SELECT FALSE AS is_latest, action_id, device_id, status, subject, changed_at
                            FROM update_report WHERE device_id = $1 AND told = 0
                            ORDER BY changed_at, action_id LIMIT 100) AS untold
             ORDER BY changed_at, action_id",
        );
        let mut history = UpdateHistory::default();
        for row in self.all(statement.bind(id)).await? {
            let report = report(&row)?;
            if row.get_flag("is_latest")? {
                history.latest = Some(report);
            } else {
                history.untold.push(report);
            }
        }
        Ok(history)
    }

    async fn mark_told(&self, reports: &[UpdateReport]) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| mark_all_told(transaction, reports)).await
    }
}

async fn record_all(
    transaction: &mut Transaction,
    reports: &[UpdateReport],
    cursor: Option<Timestamp>,
    systems: &[System],
) -> Result<usize, StoreError> {
    let mut recorded = 0;
    for report in reports {
        if is_news(transaction, report).await? && insert(transaction, report).await? {
            jobs::place(transaction, &report.device_id, systems, JobAction::Ensure).await?;
            recorded += 1;
        }
    }
    if let Some(cursor) = cursor {
        move_cursor(transaction, cursor).await?;
    }
    Ok(recorded)
}

/// The same step may be told twice, by a list and by a message, with times that are not quite the same.
async fn is_news(transaction: &mut Transaction, report: &UpdateReport) -> Result<bool, StoreError> {
    let statement = sql(
        "SELECT status FROM update_report WHERE action_id = $1 AND device_id = $2
                         ORDER BY changed_at DESC LIMIT 1",
    );
    let newest = transaction
        .optional(statement.bind(&report.action_id).bind(&report.device_id))
        .await?;
    let newest: Option<UpdateStatus> = newest.map(|row| row.get("status")).transpose()?;
    Ok(newest != Some(report.status))
}

async fn insert(transaction: &mut Transaction, report: &UpdateReport) -> Result<bool, StoreError> {
    let now = transaction.now;
    let statement = sql(
        "INSERT INTO update_report (action_id, changed_at, device_id, status, subject, told, recorded_at)
                         SELECT $1, $2, id, $4, $5, 0, $6 FROM device WHERE id = $3 AND state <> 'retired'
                         ON CONFLICT DO NOTHING",
    )
    .bind(&report.action_id)
    .bind(&report.changed_at)
    .bind(&report.device_id)
    .bind(&report.status)
    .bind_optional(report.subject.as_ref())
    .bind(&now);
    Ok(transaction.execute(statement).await? == 1)
}

async fn move_cursor(transaction: &mut Transaction, cursor: Timestamp) -> Result<(), StoreError> {
    let statement = sql("INSERT INTO update_cursor (id, changed_at) VALUES (1, $1)
                         ON CONFLICT (id) DO UPDATE SET changed_at = excluded.changed_at
                         WHERE update_cursor.changed_at < excluded.changed_at");
    transaction.execute(statement.bind(&cursor)).await.map(drop)
}

async fn mark_all_told(transaction: &mut Transaction, reports: &[UpdateReport]) -> Result<(), StoreError> {
    for report in reports {
        let statement = sql("UPDATE update_report SET told = 1 WHERE action_id = $1 AND changed_at = $2");
        transaction
            .execute(statement.bind(&report.action_id).bind(&report.changed_at))
            .await?;
    }
    Ok(())
}

fn report(row: &Row) -> Result<UpdateReport, StoreError> {
    Ok(UpdateReport {
        action_id: row.get("action_id")?,
        device_id: row.get("device_id")?,
        status: row.get("status")?,
        subject: row.optional("subject")?,
        changed_at: row.get("changed_at")?,
    })
}
