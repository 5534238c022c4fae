//! The ledger of terminal sessions.

use async_trait::async_trait;

use super::ledger_commit::LedgerEntry;
use super::statement::{Row, sql};
use super::transaction::{Transaction, in_transaction};
use super::{Store, audit};
use crate::domain::{
    Actor, AuditEvent, NewSession, RegistryError, SessionEnding, SessionId, SessionLedger, SessionRecord,
    SessionStanding, StoreError,
};

/// How a session ended whose process died.
pub(super) const ORPHANED: SessionEnding = SessionEnding {
    reason: "process_lost",
    output_bytes: 0,
    input_bytes: 0,
    recording: None,
};

#[async_trait]
impl SessionLedger for Store {
    async fn open_session(&self, session: &NewSession) -> Result<(), RegistryError> {
        // Others' sessions share the transaction, so a refusal is a result and not an error that undoes it.
        let is_on_record = self.commit_entry(LedgerEntry::Open(session.clone())).await?;
        is_on_record.then_some(()).ok_or(RegistryError::Unknown)
    }

    async fn close_session(&self, id: SessionId, ending: &SessionEnding) -> Result<(), StoreError> {
        self.commit_entry(LedgerEntry::Close(id, ending.clone()))
            .await
            .map(drop)
    }

    async fn close_orphans(&self, instance: &str) -> Result<u64, StoreError> {
        let statement = sql("SELECT id FROM session WHERE instance = $1 AND closed_at IS NULL ORDER BY id");
        let orphans = self.all(statement.bind_text(instance)).await?;
        for row in &orphans {
            self.close_session(row.get("id")?, &ORPHANED).await?;
        }
        Ok(orphans.len() as u64)
    }

    async fn standings(&self, instance: &str) -> Result<Vec<SessionStanding>, StoreError> {
        let statement = sql(
            "SELECT session.id, device.state, device.epoch, device.group_name, end_requested_at
                             FROM session JOIN device ON device.id = session.device_id
                             WHERE instance = $1 AND closed_at IS NULL
                             ORDER BY session.id",
        );
        self.all(statement.bind_text(instance))
            .await?
            .iter()
            .map(standing)
            .collect()
    }

    async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let statement = sql(
            "SELECT id, device_id, device_epoch, subject, username, instance, client_address,
                                    recorded, opened_at, closed_at, reason, output_bytes, input_bytes, recording_hash
                             FROM session WHERE id = $1",
        );
        self.optional(statement.bind(&id))
            .await?
            .as_ref()
            .map(session_record)
            .transpose()
    }

    async fn sessions(&self, subject: Option<&str>, open_only: bool) -> Result<Vec<SessionRecord>, StoreError> {
        let statement = sql(
            "SELECT id, device_id, device_epoch, subject, username, instance, client_address,
                                    recorded, opened_at, closed_at, reason, output_bytes, input_bytes, recording_hash
                             FROM session
                             WHERE ($1 IS NULL OR subject = $1) AND ($2 = 0 OR closed_at IS NULL)
                             ORDER BY opened_at DESC, id DESC LIMIT 1000",
        );
        let statement = statement
            .bind_optional(subject.map(str::to_owned).as_ref())
            .bind(&open_only);
        self.all(statement).await?.iter().map(session_record).collect()
    }

    async fn request_end(&self, id: SessionId, by: &Actor) -> Result<(), RegistryError> {
        in_transaction!(self, |transaction| request_end(transaction, id, by)).await
    }
}

/// Writes lines of the ledger, and then all of their audit records: whoever holds the chain waits for no session.
/// Says of each whether its session is on record.
pub(super) async fn write(transaction: &mut Transaction, entries: &[LedgerEntry]) -> Result<Vec<bool>, StoreError> {
    let mut events = Vec::with_capacity(entries.len());
    let mut on_record = Vec::with_capacity(entries.len());
    for entry in entries {
        let (is_on_record, event) = match entry {
            LedgerEntry::Open(session) => open(transaction, session).await?,
            LedgerEntry::Close(id, ending) => (true, close(transaction, *id, ending).await?),
        };
        on_record.push(is_on_record);
        events.extend(event);
    }
    audit::append_all(transaction, &events).await?;
    Ok(on_record)
}

/// The device is looked at and not locked: a proxy may not write devices, and what happens to one a moment after the
/// session began has to end the session anyway.
async fn open(transaction: &mut Transaction, session: &NewSession) -> Result<(bool, Option<AuditEvent>), StoreError> {
    let now = transaction.now;
    let statement = sql("INSERT INTO session
                             (id, device_id, device_epoch, subject, username, instance, client_address, opened_at,
                              recorded)
                         SELECT $1, device.id, device.epoch, $4, $5, $6, $7, $8, $9
                         FROM device WHERE device.id = $2 AND device.epoch = $3 AND device.state = 'enrolled'
                         ON CONFLICT (id) DO NOTHING")
    .bind(&session.id)
    .bind(&session.device_id)
    .bind(&session.device_epoch)
    .bind(&session.subject)
    .bind(&session.username)
    .bind(&session.instance)
    .bind(&session.client_address)
    .bind(&now)
    .bind(&session.recorded);
    if transaction.execute(statement).await? == 0 {
        // It is there when this is done over, because the first committer left.
        let statement = sql("SELECT id FROM session WHERE id = $1").bind(&session.id);
        return Ok((transaction.optional(statement).await?.is_some(), None));
    }
    let event = AuditEvent {
        actor: person(session),
        action: "session.opened",
        device_id: Some(session.device_id.clone()),
        detail: serde_json::json!({
            "session": session.id, "epoch": session.device_epoch, "client_address": session.client_address,
            "recorded": session.recorded,
        }),
    };
    Ok((true, Some(event)))
}

async fn close(
    transaction: &mut Transaction,
    id: SessionId,
    ending: &SessionEnding,
) -> Result<Option<AuditEvent>, StoreError> {
    let now = transaction.now;
    let statement = sql(
        "UPDATE session SET closed_at = $2, reason = $3, output_bytes = $4, input_bytes = $5,
                                            recording_hash = $6
                         WHERE id = $1 AND closed_at IS NULL
                         RETURNING id, device_id, device_epoch, subject, username, instance, client_address, recorded",
    )
    .bind(&id)
    .bind(&now)
    .bind_text(ending.reason)
    .bind(&ending.output_bytes)
    .bind(&ending.input_bytes)
    .bind_optional(ending.recording.as_ref());
    let Some(row) = transaction.optional(statement).await? else {
        return Ok(None);
    };
    let session = new_session(&row)?;
    Ok(Some(AuditEvent {
        actor: person(&session),
        action: "session.closed",
        device_id: Some(session.device_id),
        detail: serde_json::json!({
            "session": id, "reason": ending.reason, "output_bytes": ending.output_bytes,
            "input_bytes": ending.input_bytes, "recording": ending.recording.map(|hash| hash.to_string()),
        }),
    }))
}

async fn request_end(transaction: &mut Transaction, id: SessionId, by: &Actor) -> Result<(), RegistryError> {
    let session = lock_open(transaction, id).await?.ok_or(RegistryError::Unknown)?;
    let now = transaction.now;
    let statement = sql("UPDATE session SET end_requested_at = COALESCE(end_requested_at, $2) WHERE id = $1");
    transaction.execute(statement.bind(&id).bind(&now)).await?;
    let detail = serde_json::json!({ "session": id });
    let device_id = &session.device_id;
    Ok(audit::append_about(transaction, by.clone(), "session.end_requested", device_id, detail).await?)
}

async fn lock_open(transaction: &mut Transaction, id: SessionId) -> Result<Option<NewSession>, StoreError> {
    let statement = sql(
        "SELECT id, device_id, device_epoch, subject, username, instance, client_address, recorded
                         FROM session WHERE id = $1 AND closed_at IS NULL FOR UPDATE",
    );
    transaction
        .optional(statement.bind(&id))
        .await?
        .as_ref()
        .map(new_session)
        .transpose()
}

fn person(session: &NewSession) -> Actor {
    Actor::Operator {
        subject: session.subject.clone(),
        username: session.username.clone(),
    }
}

fn standing(row: &Row) -> Result<SessionStanding, StoreError> {
    Ok(SessionStanding {
        id: row.get("id")?,
        device_state: row.get("state")?,
        device_epoch: row.get("epoch")?,
        group: row.get("group_name")?,
        end_requested: row.optional::<i64>("end_requested_at")?.is_some(),
    })
}

fn new_session(row: &Row) -> Result<NewSession, StoreError> {
    Ok(NewSession {
        id: row.get("id")?,
        device_id: row.get("device_id")?,
        device_epoch: row.get("device_epoch")?,
        subject: row.get("subject")?,
        username: row.get("username")?,
        instance: row.get("instance")?,
        client_address: row.get("client_address")?,
        recorded: row.get("recorded")?,
    })
}

fn session_record(row: &Row) -> Result<SessionRecord, StoreError> {
    Ok(SessionRecord {
        session: new_session(row)?,
        opened_at: row.get("opened_at")?,
        closed_at: row.optional("closed_at")?,
        reason: row.optional("reason")?,
        output_bytes: row.get("output_bytes")?,
        input_bytes: row.get("input_bytes")?,
        recording: row.optional("recording_hash")?,
    })
}
