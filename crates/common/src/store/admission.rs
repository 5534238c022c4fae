//! The decision about an application for enrollment.

use std::net::Ipv4Addr;

use super::statement::sql;
use super::transaction::Transaction;
use super::{Networks, addresses, audit, certificates, devices, jobs, live, tokens};
use crate::domain::{
    Actor, Admission, AdmitError, Application, AuditEvent, CertificateState, Device, DeviceId, DeviceState, Digest,
    EnrollmentToken, JobAction, StoreError, System, Timestamp, TokenPurpose, WireguardKey,
};

/// Admits a device, or says why not; a refusal undoes everything.
///
/// Rows are locked in one order everywhere: device, token, keys, addresses, audit chain.
pub(super) async fn admit(
    transaction: &mut Transaction,
    networks: &Networks,
    id: &DeviceId,
    secret: &Digest,
    application: &Application,
) -> Result<Admission, AdmitError> {
    let token = check_token(transaction, secret, Some(id)).await?;
    let is_new = token.purpose == TokenPurpose::Enroll && insert_device(transaction, id, &token).await?;
    // A return ticket is for a device that exists.
    let standing = devices::lock(transaction, id)
        .await?
        .ok_or(AdmitError::DeviceMismatch)?;
    if !is_new {
        if let Some(admission) = repeat(transaction, &standing.device, &token, application).await? {
            return Ok(admission);
        }
        may_start_over(transaction, &standing, &token).await?;
        start_over(transaction, &standing.device, application).await?;
    }
    if !tokens::consume(transaction, token.id).await? {
        return Err(AdmitError::TokenUsedUp);
    }
    claim_keys(transaction, id, &token, application).await?;
    let address = match standing.device.address {
        Some(address) => address,
        None => addresses::allocate(transaction, networks, 1)
            .await?
            .pop()
            .ok_or(AdmitError::AddressPoolExhausted)?,
    };
    complete_device(transaction, id, address, application).await?;
    let intent = certificates::intend(transaction, id, token.id, application).await?;
    let device = devices::read_back(transaction, id).await?;
    let action = if is_new { "device.admitted" } else { "device.readmitted" };
    let detail = serde_json::json!({ "address": address, "certificate": intent.id, "epoch": device.epoch });
    audit::append_about(transaction, Actor::Token(token.id.to_string()), action, id, detail);
    Ok(Admission {
        device,
        intent,
        issued: None,
        repeated: false,
    })
}

/// Finds the token that this secret opens, when it is good, and for this id if one is named.
async fn check_token(
    transaction: &mut Transaction,
    secret: &Digest,
    id: Option<&DeviceId>,
) -> Result<EnrollmentToken, AdmitError> {
    let known = tokens::find(transaction, secret).await?;
    judge_token(known, id, transaction.now)
}

/// Says whether a token is good, and for this id if one is named.
pub(super) fn judge_token(
    token: Option<EnrollmentToken>,
    id: Option<&DeviceId>,
    now: Timestamp,
) -> Result<EnrollmentToken, AdmitError> {
    let token = token
        .filter(|token| token.revoked_at.is_none() && now < token.expires_at)
        .ok_or(AdmitError::InvalidToken)?;
    if id.is_some_and(|id| !token.id_pattern.matches(id)) {
        return Err(AdmitError::DeviceMismatch);
    }
    Ok(token)
}

/// Why a request was refused, for its record.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    /// In fixed words.
    For(&'static str),
    /// Its token is not good; the token itself says why.
    Token,
}

impl Refusal {
    pub(super) fn of(refused: &AdmitError) -> Self {
        if matches!(refused, AdmitError::InvalidToken) {
            return Self::Token;
        }
        Self::For(refused.code().unwrap_or("database_failed"))
    }
}

/// Counts a refusal at its token and records it.
pub(super) async fn record_refusal(
    transaction: &mut Transaction,
    id: Option<&DeviceId>,
    secret: &Digest,
    refusal: Refusal,
) -> Result<(), StoreError> {
    let token = tokens::count_refusal(transaction, secret).await?;
    let reason = match (refusal, &token) {
        (Refusal::For(reason), _) => reason,
        (Refusal::Token, None) => "unknown_token",
        (Refusal::Token, Some(token)) if token.revoked_at.is_some() => "token_revoked",
        (Refusal::Token, Some(_)) => "token_expired",
    };
    append_refusal(transaction, id, token.as_ref(), reason);
    Ok(())
}

fn append_refusal(
    transaction: &mut Transaction,
    id: Option<&DeviceId>,
    token: Option<&EnrollmentToken>,
    reason: &'static str,
) {
    let event = AuditEvent {
        actor: token.map_or(Actor::Bridge, |token| Actor::Token(token.id.to_string())),
        action: "enrollment.refused",
        device_id: id.cloned(),
        detail: serde_json::json!({ "reason": reason }),
    };
    transaction.record(event);
}

/// Makes the record of a new device; returns false when there is one already.
async fn insert_device(
    transaction: &mut Transaction,
    id: &DeviceId,
    token: &EnrollmentToken,
) -> Result<bool, StoreError> {
    let now = transaction.now;
    let statement = sql("INSERT INTO device (id, state, group_name, epoch, created_at)
                         VALUES ($1, 'admitted', $2, 1, $3)
                         ON CONFLICT DO NOTHING");
    Ok(transaction
        .execute(statement.bind(id).bind(&token.group).bind(&now))
        .await?
        == 1)
}

/// Answers the same token with the same request as before; everything else is no repetition.
async fn repeat(
    transaction: &mut Transaction,
    device: &Device,
    token: &EnrollmentToken,
    application: &Application,
) -> Result<Option<Admission>, AdmitError> {
    match device.state {
        DeviceState::Admitted | DeviceState::Enrolled => {}
        DeviceState::Quarantined => return Err(AdmitError::Quarantined),
        DeviceState::Retired => return Err(AdmitError::Retired),
    }
    let Some(current) = certificates::current(transaction, &device.id).await? else {
        return Ok(None);
    };
    let is_current = matches!(
        current.record.state,
        CertificateState::Intended | CertificateState::Active
    );
    let is_same_request = current.token_id == Some(token.id) && current.csr_digest == application.csr_digest;
    let has_same_key = device.wireguard_key == Some(application.wireguard_key);
    if !is_current || !is_same_request || !(has_same_key || application.wireguard_key_is_ours) {
        return Ok(None);
    }
    let device = if has_same_key {
        device.clone()
    } else {
        replace_our_key(transaction, device, token, application.wireguard_key).await?
    };
    let record = current.record;
    Ok(Some(Admission {
        device,
        intent: record.intent,
        issued: record.issued,
        repeated: true,
    }))
}

/// Gives a device that never used the pair which the bridge made for it another one. A key that it brought stays.
async fn replace_our_key(
    transaction: &mut Transaction,
    device: &Device,
    token: &EnrollmentToken,
    key: WireguardKey,
) -> Result<Device, AdmitError> {
    if !has_unused_key_of_ours(transaction, &device.id).await? {
        return Err(AdmitError::AlreadyEnrolled);
    }
    tombstone_wireguard_key(transaction, &device.id).await?;
    let claim = KeyClaim {
        key,
        made_by_us: true,
        may_keep: false,
    };
    claim_wireguard_key(transaction, &device.id, claim).await?;
    let statement = sql("UPDATE device SET wireguard_key = $2 WHERE id = $1");
    transaction.execute(statement.bind(&device.id).bind(&key)).await?;
    let actor = Actor::Token(token.id.to_string());
    let detail = serde_json::json!({ "wireguard_key": key });
    audit::append_about(transaction, actor, "device.wireguard_key_replaced", &device.id, detail);
    Ok(Device {
        wireguard_key: Some(key),
        ..device.clone()
    })
}

/// Whether the device's present pair is one that the bridge made, and was never used.
pub(super) async fn has_unused_key_of_ours(transaction: &mut Transaction, id: &DeviceId) -> Result<bool, StoreError> {
    let unused = sql("SELECT public_key FROM wireguard_key
                      WHERE device_id = $1 AND replaced_at IS NULL AND made_by_us = 1 AND first_used_at IS NULL");
    Ok(transaction.optional(unused.bind(id)).await?.is_some())
}

/// Whether a known device may bring new keys: an operator allowed it, or its token is a return ticket.
async fn may_start_over(
    transaction: &mut Transaction,
    standing: &devices::Standing,
    token: &EnrollmentToken,
) -> Result<(), AdmitError> {
    let is_allowed = standing.reenroll_until.is_some_and(|until| transaction.now < until);
    if is_allowed || token.purpose == TokenPurpose::Return {
        return Ok(());
    }
    let current = certificates::current(transaction, &standing.device.id).await?;
    let is_same_token = current.is_some_and(|current| current.token_id == Some(token.id));
    if standing.device.state == DeviceState::Admitted && is_same_token {
        return Err(AdmitError::Conflict);
    }
    Err(AdmitError::AlreadyEnrolled)
}

/// Takes the old identity away: certificates, WireGuard key, epoch. The address stays.
async fn start_over(
    transaction: &mut Transaction,
    device: &Device,
    application: &Application,
) -> Result<(), StoreError> {
    certificates::revoke_all(transaction, &device.id).await?;
    if device.wireguard_key != Some(application.wireguard_key) {
        tombstone_wireguard_key(transaction, &device.id).await?;
    }
    live::forget(transaction, &device.id).await?;
    let statement = sql("UPDATE device SET state = 'admitted', epoch = epoch + 1, reenroll_until = NULL WHERE id = $1");
    transaction.execute(statement.bind(&device.id)).await?;
    let systems = [System::CertificateAuthority, System::Vpn];
    jobs::place(transaction, &device.id, &systems, JobAction::Ensure).await
}

async fn complete_device(
    transaction: &mut Transaction,
    id: &DeviceId,
    address: Ipv4Addr,
    application: &Application,
) -> Result<(), StoreError> {
    let statement = sql("UPDATE device
                         SET address = $2, wireguard_key = $3, device_type = COALESCE($4, device_type),
                             display_name = COALESCE($5, display_name)
                         WHERE id = $1")
    .bind(id)
    .bind(&address)
    .bind(&application.wireguard_key)
    .bind_optional(application.device_type.as_ref())
    .bind_optional(application.display_name.as_ref());
    transaction.execute(statement).await.map(drop)
}

/// Makes both keys this device's for all time. Only a return ticket lets a device keep the keys it had.
async fn claim_keys(
    transaction: &mut Transaction,
    id: &DeviceId,
    token: &EnrollmentToken,
    application: &Application,
) -> Result<(), AdmitError> {
    let may_keep = token.purpose == TokenPurpose::Return;
    claim_certificate_key(transaction, id, &application.key_digest, may_keep).await?;
    let claim = KeyClaim {
        key: application.wireguard_key,
        made_by_us: application.wireguard_key_is_ours,
        may_keep,
    };
    claim_wireguard_key(transaction, id, claim).await
}

pub(super) async fn claim_certificate_key(
    transaction: &mut Transaction,
    id: &DeviceId,
    key: &Digest,
    may_keep: bool,
) -> Result<(), AdmitError> {
    let now = transaction.now;
    let statement = sql(
        "INSERT INTO device_key (key_digest, device_id, first_seen_at) VALUES ($1, $2, $3)
                         ON CONFLICT DO NOTHING",
    );
    if transaction.execute(statement.bind(key).bind(id).bind(&now)).await? == 1 {
        return Ok(());
    }
    let statement = sql("SELECT device_id FROM device_key WHERE key_digest = $1 AND device_id = $2");
    let own = transaction.optional(statement.bind(key).bind(id)).await?;
    match own {
        Some(_) if may_keep => Ok(()),
        Some(_) => Err(AdmitError::KeyReused),
        None => Err(AdmitError::KeyAlreadyUsed),
    }
}

/// A WireGuard key that is to become a device's.
pub(super) struct KeyClaim {
    pub(super) key: WireguardKey,
    /// Whether the bridge made its pair.
    pub(super) made_by_us: bool,
    /// Whether it may be the one that the device has.
    pub(super) may_keep: bool,
}

pub(super) async fn claim_wireguard_key(
    transaction: &mut Transaction,
    id: &DeviceId,
    claim: KeyClaim,
) -> Result<(), AdmitError> {
    let now = transaction.now;
    let statement = sql(
        "INSERT INTO wireguard_key (public_key, device_id, made_by_us, first_seen_at) VALUES ($1, $2, $3, $4)
                         ON CONFLICT (public_key) DO NOTHING",
    )
    .bind(&claim.key)
    .bind(id)
    .bind(&claim.made_by_us)
    .bind(&now);
    if transaction.execute(statement).await? == 1 {
        return Ok(());
    }
    // A device that brings the pair we made for it has it: it is the device's own from now on.
    let statement = sql("UPDATE wireguard_key SET made_by_us = $3
                         WHERE public_key = $1 AND device_id = $2 AND replaced_at IS NULL")
    .bind(&claim.key)
    .bind(id)
    .bind(&claim.made_by_us);
    if claim.may_keep && transaction.execute(statement).await? == 1 {
        Ok(())
    } else {
        Err(AdmitError::WireguardKeyInUse)
    }
}

/// Ends a device's WireGuard key; its row stays, so that nobody ever brings it again.
pub(super) async fn tombstone_wireguard_key(transaction: &mut Transaction, id: &DeviceId) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql("UPDATE wireguard_key SET replaced_at = $2 WHERE device_id = $1 AND replaced_at IS NULL");
    transaction.execute(statement.bind(id).bind(&now)).await.map(drop)
}
