//! Enrollment tokens.

use async_trait::async_trait;
use uuid::Uuid;

use super::Store;
use super::statement::{Row, sql};
use super::transaction::{Transaction, in_transaction};
use crate::domain::{
    Actor, AuditEvent, Digest, EnrollmentToken, EnrollmentTokens, NewEnrollmentToken, RegistryError, StoreError,
};

#[async_trait]
impl EnrollmentTokens for Store {
    async fn create_token(&self, token: &NewEnrollmentToken, by: &Actor) -> Result<EnrollmentToken, StoreError> {
        in_transaction!(self, |transaction| create(transaction, token, by)).await
    }

    async fn tokens(&self) -> Result<Vec<EnrollmentToken>, StoreError> {
        let statement = sql(
            "SELECT id, purpose, id_pattern, group_name, quota, used, refused, expires_at, revoked_at,
                                    created_by, created_at
                             FROM enrollment_token ORDER BY created_at DESC, id DESC",
        );
        self.all(statement).await?.iter().map(enrollment_token).collect()
    }

    async fn revoke_token(&self, id: Uuid, by: &Actor) -> Result<(), RegistryError> {
        in_transaction!(self, |transaction| revoke(transaction, id, by)).await
    }
}

/// Uses a token once more; returns false when it is used up or revoked.
pub(super) async fn consume(transaction: &mut Transaction, id: Uuid) -> Result<bool, StoreError> {
    let statement = sql("UPDATE enrollment_token SET used = used + 1
                         WHERE id = $1 AND used < quota AND revoked_at IS NULL");
    Ok(transaction.execute(statement.bind(&id)).await? == 1)
}

/// Counts an application that was refused; returns the token, if there is one.
pub(super) async fn count_refusal(
    transaction: &mut Transaction,
    secret: &Digest,
) -> Result<Option<EnrollmentToken>, StoreError> {
    let statement = sql("UPDATE enrollment_token SET refused = refused + 1 WHERE secret_hash = $1");
    transaction.execute(statement.bind(secret)).await?;
    find(transaction, secret).await
}

pub(super) async fn find(
    transaction: &mut Transaction,
    secret: &Digest,
) -> Result<Option<EnrollmentToken>, StoreError> {
    let statement = sql(
        "SELECT id, purpose, id_pattern, group_name, quota, used, refused, expires_at, revoked_at,
                                created_by, created_at
                         FROM enrollment_token WHERE secret_hash = $1",
    );
    let row = transaction.optional(statement.bind(secret)).await?;
    row.as_ref().map(enrollment_token).transpose()
}

async fn create(
    transaction: &mut Transaction,
    new: &NewEnrollmentToken,
    by: &Actor,
) -> Result<EnrollmentToken, StoreError> {
    let token = EnrollmentToken {
        id: Uuid::now_v7(),
        purpose: new.purpose,
        id_pattern: new.id_pattern.clone(),
        group: new.group.clone(),
        quota: new.quota,
        used: 0,
        refused: 0,
        expires_at: new.expires_at,
        revoked_at: None,
        created_by: by.to_string(),
        created_at: transaction.now,
    };
    let statement = sql("INSERT INTO enrollment_token
                             (id, secret_hash, purpose, id_pattern, group_name, quota, expires_at, created_by, created_at)
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
    .bind(&token.id)
    .bind(&new.secret_hash)
    .bind(&token.purpose)
    .bind(&token.id_pattern)
    .bind(&token.group)
    .bind(&token.quota)
    .bind(&token.expires_at)
    .bind(&token.created_by)
    .bind(&token.created_at);
    transaction.execute(statement).await?;
    let detail = serde_json::json!({ "token": token.id, "id_pattern": token.id_pattern, "quota": token.quota });
    let event = AuditEvent {
        actor: by.clone(),
        action: "token.created",
        device_id: None,
        detail,
    };
    transaction.record(event);
    Ok(token)
}

async fn revoke(transaction: &mut Transaction, id: Uuid, by: &Actor) -> Result<(), RegistryError> {
    let statement = sql("SELECT revoked_at FROM enrollment_token WHERE id = $1 FOR UPDATE");
    let row = transaction
        .optional(statement.bind(&id))
        .await?
        .ok_or(RegistryError::Unknown)?;
    if row.optional::<i64>("revoked_at")?.is_some() {
        return Ok(());
    }
    let now = transaction.now;
    transaction
        .execute(
            sql("UPDATE enrollment_token SET revoked_at = $2 WHERE id = $1")
                .bind(&id)
                .bind(&now),
        )
        .await?;
    let detail = serde_json::json!({ "token": id });
    let event = AuditEvent {
        actor: by.clone(),
        action: "token.revoked",
        device_id: None,
        detail,
    };
    transaction.record(event);
    Ok(())
}

pub(super) fn enrollment_token(row: &Row) -> Result<EnrollmentToken, StoreError> {
    Ok(EnrollmentToken {
        id: row.get("id")?,
        purpose: row.get("purpose")?,
        id_pattern: row.get("id_pattern")?,
        group: row.get("group_name")?,
        quota: row.get("quota")?,
        used: row.get("used")?,
        refused: row.get("refused")?,
        expires_at: row.get("expires_at")?,
        revoked_at: row.optional("revoked_at")?,
        created_by: row.get("created_by")?,
        created_at: row.get("created_at")?,
    })
}
