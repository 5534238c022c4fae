//! The ledger of terminal sessions.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::given::sql_given;
use super::group_commit::Change;
use super::statement::{Row, row, sql, sql_about};
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
        self.commit(LedgerEntry::Open(session.clone())).await
    }

    async fn close_session(&self, session: &NewSession, ending: &SessionEnding) -> Result<(), StoreError> {
        match self.commit(LedgerEntry::Close(session.clone(), ending.clone())).await {
            Ok(()) | Err(RegistryError::Unknown | RegistryError::WrongState(_)) => Ok(()),
            Err(RegistryError::Store(error)) => Err(error),
        }
    }

    async fn close_orphans(&self, instance: &str) -> Result<u64, StoreError> {
        let statement = sql(
            "SELECT id, device_id, device_epoch, subject, username, instance, client_address, recorded
                             FROM session WHERE instance = $1 AND closed_at IS NULL ORDER BY id",
        );
        let orphans = self.all(statement.bind_text(instance)).await?;
        for row in &orphans {
            self.close_session(&new_session(row)?, &ORPHANED).await?;
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

/// One line of the ledger of sessions. Both kinds come in one, because no line may overtake another one.
enum LedgerEntry {
    Open(NewSession),
    Close(NewSession, SessionEnding),
}

#[async_trait]
impl Change for LedgerEntry {
    type Done = ();
    type Refused = RegistryError;

    /// A session that is on record already was opened by a committer who left; one that is closed stays as it is.
    async fn write(&self, transaction: &mut Transaction) -> Result<(), RegistryError> {
        match self {
            Self::Open(session) => {
                let statement = sql("SELECT id FROM session WHERE id = $1").bind(&session.id);
                let is_known = transaction.optional(statement).await?.is_some();
                if !is_known && open(transaction, &[session]).await? == 0 {
                    return Err(RegistryError::Unknown);
                }
                if !is_known {
                    transaction.record(opened(session));
                }
            }
            Self::Close(session, ending) => {
                if close(transaction, &[(session, ending)]).await? > 0 {
                    transaction.record(closed(session, ending));
                }
            }
        }
        Ok(())
    }

    /// Nothing stands in the way of sessions that are new, on devices that are as they were authorised, and of the end
    /// of those that are open.
    async fn write_plain(transaction: &mut Transaction, changes: &[Arc<Self>]) -> Result<Vec<Option<()>>, StoreError> {
        let (mut openings, mut closings, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for change in changes {
            match change.as_ref() {
                Self::Open(session) => openings.push(session),
                Self::Close(session, ending) if seen.insert(session.id) => closings.push((session, ending)),
                Self::Close(..) => {}
            }
        }
        let opened_count = open(transaction, &openings).await?;
        transaction.must_be_all(opened_count, openings.len())?;
        let closed_count = close(transaction, &closings).await?;
        transaction.must_be_all(closed_count, closings.len())?;
        for session in openings {
            transaction.record(opened(session));
        }
        for (session, ending) in closings {
            transaction.record(closed(session, ending));
        }
        Ok(changes.iter().map(|_| Some(())).collect())
    }
}

/// Opens sessions on devices that are as they were authorised; says how many.
///
/// The devices are looked at and not locked: a proxy may not write devices, and what happens to one a moment after the
/// session began has to end the session anyway.
async fn open(transaction: &mut Transaction, sessions: &[&NewSession]) -> Result<u64, StoreError> {
    if sessions.is_empty() {
        return Ok(0);
    }
    let now = transaction.now;
    let rows = sessions.iter().map(|session| {
        row()
            .bind(&session.id)
            .bind(&session.device_id)
            .bind(&session.device_epoch)
            .bind(&session.subject)
            .bind(&session.username)
            .bind(&session.instance)
            .bind(&session.client_address)
            .bind(&now)
            .bind(&session.recorded)
    });
    let texts = sql_given!(
        (session, device, device_epoch, subject, username, instance, client_address, now, recorded)
        "INSERT INTO session (id, device_id, device_epoch, subject, username, instance, client_address, opened_at,
             recorded)
         SELECT session, device.id, device.epoch, subject, username, instance, client_address, now, recorded
         FROM given CROSS JOIN device
         WHERE device.id = given.device AND device.epoch = given.device_epoch AND device.state = 'enrolled'
         ON CONFLICT (id) DO NOTHING"
    );
    transaction.execute(sql_about(texts, rows.collect())).await
}

/// Closes the sessions that are still open; says how many.
async fn close(transaction: &mut Transaction, endings: &[(&NewSession, &SessionEnding)]) -> Result<u64, StoreError> {
    if endings.is_empty() {
        return Ok(0);
    }
    let now = transaction.now;
    let rows = endings.iter().map(|(session, ending)| {
        row()
            .bind(&session.id)
            .bind(&now)
            .bind(&ending.reason.to_owned())
            .bind(&ending.output_bytes)
            .bind(&ending.input_bytes)
            .bind_optional(ending.recording.as_ref())
    });
    let texts = sql_given!(
        (session, now, reason, output_bytes, input_bytes, recording: bytes)
        "UPDATE session
         SET closed_at = given.now, reason = given.reason, output_bytes = given.output_bytes,
             input_bytes = given.input_bytes, recording_hash = given.recording
         FROM given WHERE session.id = given.session AND session.closed_at IS NULL"
    );
    transaction.execute(sql_about(texts, rows.collect())).await
}

fn opened(session: &NewSession) -> AuditEvent {
    let detail = serde_json::json!({
        "session": session.id, "epoch": session.device_epoch, "client_address": session.client_address,
        "recorded": session.recorded,
    });
    of_person(session, "session.opened", detail)
}

fn closed(session: &NewSession, ending: &SessionEnding) -> AuditEvent {
    let detail = serde_json::json!({
        "session": session.id, "reason": ending.reason, "output_bytes": ending.output_bytes,
        "input_bytes": ending.input_bytes, "recording": ending.recording.map(|hash| hash.to_string()),
    });
    of_person(session, "session.closed", detail)
}

fn of_person(session: &NewSession, action: &'static str, detail: serde_json::Value) -> AuditEvent {
    AuditEvent {
        actor: person(session),
        action,
        device_id: Some(session.device_id.clone()),
        detail,
    }
}

async fn request_end(transaction: &mut Transaction, id: SessionId, by: &Actor) -> Result<(), RegistryError> {
    let session = lock_open(transaction, id).await?.ok_or(RegistryError::Unknown)?;
    let now = transaction.now;
    let statement = sql("UPDATE session SET end_requested_at = COALESCE(end_requested_at, $2) WHERE id = $1");
    transaction.execute(statement.bind(&id).bind(&now)).await?;
    let detail = serde_json::json!({ "session": id });
    let device_id = &session.device_id;
    audit::append_about(transaction, by.clone(), "session.end_requested", device_id, detail);
    Ok(())
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

pub(super) fn new_session(row: &Row) -> Result<NewSession, StoreError> {
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
