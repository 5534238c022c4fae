//! Intents and certificates.

use uuid::Uuid;

use super::statement::{Row, sql};
use super::transaction::Transaction;
use super::{audit, devices, jobs};
use crate::domain::{
    Actor, Application, CertificateIntent, CertificateRecord, CertificateState, DeviceId, DeviceState, Digest,
    IssuedCertificate, JobAction, StoreError, System,
};

/// A device's current certificate or intent, with where it came from.
pub(super) struct Current {
    pub(super) record: CertificateRecord,
    pub(super) token_id: Option<Uuid>,
    pub(super) csr_digest: Digest,
}

/// Records the decision to have a certificate signed, as the device's current one.
pub(super) async fn intend(
    transaction: &mut Transaction,
    device_id: &DeviceId,
    token_id: Uuid,
    application: &Application,
) -> Result<CertificateIntent, StoreError> {
    let intent = CertificateIntent {
        id: Uuid::now_v7(),
        device_id: device_id.clone(),
        csr_der: application.csr_der.clone(),
        key_digest: application.key_digest,
    };
    insert_intent(transaction, &intent, &application.csr_digest, Some(token_id)).await?;
    transaction
        .execute(
            sql("UPDATE device SET certificate_id = $2 WHERE id = $1")
                .bind(device_id)
                .bind(&intent.id),
        )
        .await?;
    Ok(intent)
}

/// Writes an intent down; whether it becomes the device's current one is the caller's business.
pub(super) async fn insert_intent(
    transaction: &mut Transaction,
    intent: &CertificateIntent,
    csr_digest: &Digest,
    token_id: Option<Uuid>,
) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql("INSERT INTO certificate
                             (id, device_id, token_id, state, csr_der, csr_digest, key_digest, created_at)
                         VALUES ($1, $2, $3, 'intended', $4, $5, $6, $7)")
    .bind(&intent.id)
    .bind(&intent.device_id)
    .bind_optional(token_id.as_ref())
    .bind(&intent.csr_der)
    .bind(csr_digest)
    .bind(&intent.key_digest)
    .bind(&now);
    transaction.execute(statement).await.map(drop)
}

/// Finds the renewal that the same request began, while its certificate is not in use and has not ended.
pub(super) async fn waiting(
    transaction: &mut Transaction,
    device: &DeviceId,
    csr_digest: &Digest,
) -> Result<Option<CertificateRecord>, StoreError> {
    let now = transaction.now;
    let statement = sql(
        "SELECT id AS certificate_id, device_id, state AS certificate_state, csr_der, key_digest, serial,
                                leaf_pem, ca_chain_pem, intermediates, not_before, not_after,
                                created_at AS certificate_created_at
                         FROM certificate
                         WHERE device_id = $1 AND csr_digest = $2 AND token_id IS NULL
                             AND state IN ('intended', 'pending') AND (not_after IS NULL OR not_after > $3)",
    );
    transaction
        .optional(statement.bind(device).bind(csr_digest).bind(&now))
        .await?
        .as_ref()
        .map(record)
        .transpose()
}

/// Whether a device has, or had, a certificate or an intent for this key that was not taken back.
pub(super) async fn has_good_one(
    transaction: &mut Transaction,
    device: &DeviceId,
    key: &Digest,
) -> Result<bool, StoreError> {
    let statement =
        sql("SELECT id FROM certificate WHERE device_id = $1 AND key_digest = $2 AND state <> 'revoked' LIMIT 1");
    Ok(transaction.optional(statement.bind(device).bind(key)).await?.is_some())
}

/// Finds a device's current certificate or intent.
pub(super) async fn current(transaction: &mut Transaction, device: &DeviceId) -> Result<Option<Current>, StoreError> {
    let statement = sql(
        "SELECT certificate.id AS certificate_id, device_id, certificate.state AS certificate_state, token_id,
                    csr_digest, csr_der, key_digest, serial, leaf_pem, ca_chain_pem, intermediates, not_before,
                    not_after, certificate.created_at AS certificate_created_at
             FROM certificate JOIN device ON device.certificate_id = certificate.id
             WHERE device.id = $1",
    );
    let Some(row) = transaction.optional(statement.bind(device)).await? else {
        return Ok(None);
    };
    Ok(Some(Current {
        record: record(&row)?,
        token_id: row.optional("token_id")?,
        csr_digest: row.get("csr_digest")?,
    }))
}

/// Records what the authority signed for an intent. The first certificate of an intent stays; one whose intent was
/// revoked meanwhile is kept as revoked, and the authority is told.
pub(super) async fn issue(
    transaction: &mut Transaction,
    intent: &CertificateIntent,
    issued: &IssuedCertificate,
) -> Result<IssuedCertificate, StoreError> {
    let device = devices::lock(transaction, &intent.device_id).await?;
    let device = device
        .ok_or(StoreError::Corrupt {
            column: "certificate.device_id",
        })?
        .device;
    let recorded = find(transaction, intent.id).await?.ok_or(StoreError::Corrupt {
        column: "certificate.id",
    })?;
    if let Some(first) = recorded.issued {
        return Ok(first);
    }
    let is_revoked = recorded.state == CertificateState::Revoked;
    let current = current(transaction, &intent.device_id).await?;
    let is_current = current.is_some_and(|current| current.record.intent.id == intent.id);
    let state = match (is_revoked, is_current) {
        (true, _) => CertificateState::Revoked,
        (false, true) => CertificateState::Active,
        (false, false) => CertificateState::Pending,
    };
    if state == CertificateState::Active {
        supersede(transaction, &intent.device_id).await?;
    }
    fill_in(transaction, intent.id, issued, state).await?;
    if is_revoked {
        let action = if device.state == DeviceState::Retired {
            JobAction::Remove
        } else {
            JobAction::Ensure
        };
        jobs::place(transaction, &device.id, &[System::CertificateAuthority], action).await?;
    }
    record_issued(transaction, &device.id, issued, state);
    Ok(issued.clone())
}

pub(super) fn record_issued(
    transaction: &mut Transaction,
    device: &DeviceId,
    issued: &IssuedCertificate,
    state: CertificateState,
) {
    let detail = serde_json::json!({ "serial": issued.serial, "state": state });
    audit::append_about(transaction, Actor::Bridge, "certificate.issued", device, detail);
}

/// Takes away every certificate of a device, intents included.
pub(super) async fn revoke_all(transaction: &mut Transaction, device: &DeviceId) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql("UPDATE certificate SET state = 'revoked', revoked_at = $2
                         WHERE device_id = $1 AND state <> 'revoked'");
    transaction.execute(statement.bind(device).bind(&now)).await.map(drop)
}

/// Lists the certificates of a device that have not ended, and the intents, which may have become certificates
/// without our knowledge.
pub(super) async fn unexpired(
    transaction: &mut Transaction,
    device: &DeviceId,
) -> Result<Vec<CertificateRecord>, StoreError> {
    let now = transaction.now;
    let statement = sql(
        "SELECT id AS certificate_id, device_id, state AS certificate_state, csr_der, key_digest, serial,
                                leaf_pem, ca_chain_pem, intermediates, not_before, not_after,
                                created_at AS certificate_created_at
                         FROM certificate WHERE device_id = $1 AND (not_after IS NULL OR not_after > $2)
                         ORDER BY created_at, id",
    );
    transaction
        .all(statement.bind(device).bind(&now))
        .await?
        .iter()
        .map(record)
        .collect()
}

pub(super) async fn find(transaction: &mut Transaction, id: Uuid) -> Result<Option<CertificateRecord>, StoreError> {
    let statement = sql(
        "SELECT id AS certificate_id, device_id, state AS certificate_state, csr_der, key_digest, serial,
                                leaf_pem, ca_chain_pem, intermediates, not_before, not_after,
                                created_at AS certificate_created_at
                         FROM certificate WHERE id = $1",
    );
    transaction
        .optional(statement.bind(&id))
        .await?
        .as_ref()
        .map(record)
        .transpose()
}

pub(super) async fn supersede(transaction: &mut Transaction, device: &DeviceId) -> Result<(), StoreError> {
    let statement = sql("UPDATE certificate SET state = 'superseded' WHERE device_id = $1 AND state = 'active'");
    transaction.execute(statement.bind(device)).await.map(drop)
}

async fn fill_in(
    transaction: &mut Transaction,
    id: Uuid,
    issued: &IssuedCertificate,
    state: CertificateState,
) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql("UPDATE certificate
                         SET state = $2, serial = $3, leaf_pem = $4, ca_chain_pem = $5, intermediates = $6,
                             not_before = $7, not_after = $8, issued_at = $9
                         WHERE id = $1")
    .bind(&id)
    .bind(&state)
    .bind(&issued.serial)
    .bind(&issued.leaf_pem)
    .bind(&issued.ca_chain_pem)
    .bind(&issued.intermediates)
    .bind(&issued.not_before)
    .bind(&issued.not_after)
    .bind(&now);
    transaction.execute(statement).await.map(drop)
}

/// Reads a certificate from a row that names its columns as the view `passport` does.
pub(super) fn record(row: &Row) -> Result<CertificateRecord, StoreError> {
    let issued = match row.optional("serial")? {
        Some(serial) => Some(IssuedCertificate {
            serial,
            leaf_pem: row.get("leaf_pem")?,
            ca_chain_pem: row.get("ca_chain_pem")?,
            intermediates: row.get("intermediates")?,
            not_before: row.get("not_before")?,
            not_after: row.get("not_after")?,
        }),
        None => None,
    };
    Ok(CertificateRecord {
        intent: CertificateIntent {
            id: row.get("certificate_id")?,
            device_id: row.get("device_id")?,
            csr_der: row.get("csr_der")?,
            key_digest: row.get("key_digest")?,
        },
        state: row.get("certificate_state")?,
        issued,
        created_at: row.get("certificate_created_at")?,
    })
}
