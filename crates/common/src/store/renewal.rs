//! What a device in service changes about itself: its certificate and its WireGuard key.

use uuid::Uuid;

use super::statement::sql;
use super::transaction::Transaction;
use super::{admission, audit, certificates, devices, jobs, live};
use crate::domain::{
    Actor, Admission, AdmitError, CertificateIntent, CertificateState, Device, DeviceId, DeviceState, JobAction,
    RegistryError, Renewal, StoreError, System, WireguardKey,
};

/// Decides a renewal: a key that is the device's, and an intent beside its current certificate.
pub(super) async fn renew(
    transaction: &mut Transaction,
    id: &DeviceId,
    renewal: &Renewal,
) -> Result<Admission, AdmitError> {
    let device = in_service(transaction, id).await?.device;
    if let Some(record) = certificates::waiting(transaction, id, &renewal.csr_digest).await? {
        return Ok(Admission {
            device,
            intent: record.intent,
            issued: record.issued,
            repeated: true,
        });
    }
    // A key whose certificates were all taken back, as by a new enrollment, does not come back by this way.
    let may_keep = certificates::has_good_one(transaction, id, &renewal.key_digest).await?;
    admission::claim_certificate_key(transaction, id, &renewal.key_digest, may_keep).await?;
    drop_other_renewals(transaction, id, None).await?;
    let intent = CertificateIntent {
        id: Uuid::now_v7(),
        device_id: id.clone(),
        csr_der: renewal.csr_der.clone(),
        key_digest: renewal.key_digest,
    };
    certificates::insert_intent(transaction, &intent, &renewal.csr_digest, None).await?;
    let detail = serde_json::json!({ "certificate": intent.id });
    audit::append_about(
        transaction,
        Actor::Device(id.clone()),
        "certificate.renewal_intended",
        id,
        detail,
    );
    Ok(Admission {
        device,
        intent,
        issued: None,
        repeated: false,
    })
}

/// Records that the device holds this certificate; a pending one becomes the active one.
pub(super) async fn record_proof(
    transaction: &mut Transaction,
    id: &DeviceId,
    certificate: Uuid,
    systems: &[System],
) -> Result<Device, RegistryError> {
    let device = devices::lock(transaction, id)
        .await?
        .ok_or(RegistryError::Unknown)?
        .device;
    if device.state != DeviceState::Enrolled {
        return Err(RegistryError::WrongState(device.state));
    }
    let record = certificates::find(transaction, certificate)
        .await?
        .filter(|record| record.intent.device_id == *id)
        .ok_or(RegistryError::Unknown)?;
    match record.state {
        CertificateState::Active => {}
        CertificateState::Pending => promote(transaction, id, certificate, systems).await?,
        CertificateState::Intended | CertificateState::Superseded | CertificateState::Revoked => {
            return Err(RegistryError::Unknown);
        }
    }
    let now = transaction.now;
    let statement = sql("UPDATE device SET last_connected_at = $2 WHERE id = $1");
    transaction.execute(statement.bind(id).bind(&now)).await?;
    Ok(devices::read_back(transaction, id).await?)
}

async fn promote(
    transaction: &mut Transaction,
    id: &DeviceId,
    certificate: Uuid,
    systems: &[System],
) -> Result<(), StoreError> {
    certificates::supersede(transaction, id).await?;
    let statement = sql("UPDATE certificate SET state = 'active' WHERE id = $1");
    transaction.execute(statement.bind(&certificate)).await?;
    let statement = sql("UPDATE device SET certificate_id = $2 WHERE id = $1");
    transaction.execute(statement.bind(id).bind(&certificate)).await?;
    drop_other_renewals(transaction, id, Some(certificate)).await?;
    jobs::place(transaction, id, systems, JobAction::Ensure).await?;
    let detail = serde_json::json!({ "certificate": certificate });
    audit::append_about(
        transaction,
        Actor::Device(id.clone()),
        "certificate.promoted",
        id,
        detail,
    );
    Ok(())
}

/// Ends the renewals that another one takes the place of: a certificate that was never used is replaced, an intent
/// is revoked, so that what the authority may still make of it is taken back.
async fn drop_other_renewals(
    transaction: &mut Transaction,
    id: &DeviceId,
    kept: Option<Uuid>,
) -> Result<(), StoreError> {
    let kept = kept.unwrap_or(Uuid::nil());
    let statement = sql("UPDATE certificate SET state = 'superseded'
                         WHERE device_id = $1 AND state = 'pending' AND id <> $2");
    transaction.execute(statement.bind(id).bind(&kept)).await?;
    let now = transaction.now;
    let statement = sql("UPDATE certificate SET state = 'revoked', revoked_at = $2
                         WHERE device_id = $1 AND state = 'intended'
                             AND id <> COALESCE((SELECT certificate_id FROM device WHERE device.id = $1), '')");
    transaction.execute(statement.bind(id).bind(&now)).await.map(drop)
}

/// Gives a device another WireGuard key; its address stays.
pub(super) async fn replace_wireguard_key(
    transaction: &mut Transaction,
    id: &DeviceId,
    key: WireguardKey,
) -> Result<Device, AdmitError> {
    let standing = in_service(transaction, id).await?;
    if standing.device.wireguard_key == Some(key) {
        return Ok(standing.device);
    }
    // A certificate alone is not enough: who stole one must not take the device's place in the network.
    let is_allowed = standing.reenroll_until.is_some_and(|until| transaction.now < until);
    if !is_allowed && !admission::has_unused_key_of_ours(transaction, id).await? {
        return Err(AdmitError::AlreadyEnrolled);
    }
    admission::tombstone_wireguard_key(transaction, id).await?;
    let claim = admission::KeyClaim {
        key,
        made_by_us: false,
        may_keep: false,
    };
    admission::claim_wireguard_key(transaction, id, claim).await?;
    live::forget(transaction, id).await?;
    let statement = sql("UPDATE device SET wireguard_key = $2, epoch = epoch + 1, reenroll_until = NULL WHERE id = $1");
    transaction.execute(statement.bind(id).bind(&key)).await?;
    jobs::place(transaction, id, &[System::Vpn], JobAction::Ensure).await?;
    let detail = serde_json::json!({ "wireguard_key": key });
    audit::append_about(
        transaction,
        Actor::Device(id.clone()),
        "device.wireguard_key_replaced",
        id,
        detail,
    );
    Ok(devices::read_back(transaction, id).await?)
}

async fn in_service(transaction: &mut Transaction, id: &DeviceId) -> Result<devices::Standing, AdmitError> {
    let standing = devices::lock(transaction, id).await?.ok_or(AdmitError::Retired)?;
    match standing.device.state {
        DeviceState::Enrolled => Ok(standing),
        DeviceState::Admitted => Err(AdmitError::Conflict),
        DeviceState::Quarantined => Err(AdmitError::Quarantined),
        DeviceState::Retired => Err(AdmitError::Retired),
    }
}
