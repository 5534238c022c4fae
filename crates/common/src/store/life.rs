//! What happens to a device after its admission: service, quarantine, release, decommissioning.

use std::time::Duration;

use super::statement::sql;
use super::transaction::Transaction;
use super::{addresses, admission, audit, certificates, devices, jobs, live};
use crate::domain::{
    Actor, Device, DeviceChanges, DeviceId, DeviceState, JobAction, RegistryError, Retired, StoreError, System,
    Timestamp,
};

/// Puts a device into service. Without an active certificate it stays where it is.
pub(super) async fn mark_enrolled(
    transaction: &mut Transaction,
    id: &DeviceId,
    systems: &[System],
) -> Result<Device, RegistryError> {
    let now = transaction.now;
    let statement = sql(
        "UPDATE device SET state = 'enrolled', enrolled_at = COALESCE(enrolled_at, $2)
                         WHERE id = $1 AND state = 'admitted' AND address IS NOT NULL AND wireguard_key IS NOT NULL
                             AND (SELECT certificate.state FROM certificate
                                 WHERE certificate.id = device.certificate_id) = 'active'",
    );
    let is_marked = transaction.execute(statement.bind(id).bind(&now)).await? == 1;
    let device = lock(transaction, id).await?.device;
    if is_marked {
        record_enrolled(transaction, id, device.epoch);
        jobs::place(transaction, id, systems, JobAction::Ensure).await?;
    }
    match device.state {
        DeviceState::Enrolled => Ok(device),
        DeviceState::Admitted | DeviceState::Quarantined | DeviceState::Retired => {
            Err(RegistryError::WrongState(device.state))
        }
    }
}

pub(super) fn record_enrolled(transaction: &mut Transaction, device: &DeviceId, epoch: i64) {
    let detail = serde_json::json!({ "epoch": epoch });
    audit::append_about(transaction, Actor::Bridge, "device.enrolled", device, detail);
}

/// Takes a device out of service for good; doing it again only lists its certificates.
pub(super) async fn retire(
    transaction: &mut Transaction,
    id: &DeviceId,
    by: &Actor,
    systems: &[System],
    quarantine: Duration,
) -> Result<Retired, RegistryError> {
    let device = lock(transaction, id).await?.device;
    if device.state == DeviceState::Retired {
        let certificates = certificates::unexpired(transaction, id).await?;
        return Ok(Retired {
            device,
            certificates,
            repeated: true,
        });
    }
    certificates::revoke_all(transaction, id).await?;
    admission::tombstone_wireguard_key(transaction, id).await?;
    live::forget(transaction, id).await?;
    let now = transaction.now;
    let statement = sql("UPDATE device
                         SET state = 'retired', resume_state = NULL, epoch = epoch + 1, address = NULL,
                             reenroll_until = NULL, retired_at = $2
                         WHERE id = $1");
    transaction.execute(statement.bind(id).bind(&now)).await?;
    if let Some(address) = device.address {
        addresses::release(transaction, id, address, quarantine).await?;
    }
    jobs::place(transaction, id, systems, JobAction::Remove).await?;
    let certificates = certificates::unexpired(transaction, id).await?;
    let retired = devices::read_back(transaction, id).await?;
    let detail = serde_json::json!({ "address": device.address, "certificates": certificates.len() });
    audit::append_about(transaction, by.clone(), "device.retired", id, detail);
    Ok(Retired {
        device: retired,
        certificates,
        repeated: false,
    })
}

/// Shuts a device out; its sessions belong to an epoch that is over, also after its release.
pub(super) async fn quarantine(
    transaction: &mut Transaction,
    id: &DeviceId,
    by: &Actor,
    systems: &[System],
) -> Result<Device, RegistryError> {
    let device = lock(transaction, id).await?.device;
    match device.state {
        DeviceState::Quarantined => return Ok(device),
        DeviceState::Retired => return Err(RegistryError::WrongState(device.state)),
        DeviceState::Admitted | DeviceState::Enrolled => {}
    }
    live::forget(transaction, id).await?;
    let statement =
        sql("UPDATE device SET state = 'quarantined', resume_state = state, epoch = epoch + 1 WHERE id = $1");
    transaction.execute(statement.bind(id)).await?;
    jobs::place(transaction, id, systems, JobAction::Remove).await?;
    let detail = serde_json::json!({});
    audit::append_about(transaction, by.clone(), "device.quarantined", id, detail);
    Ok(devices::read_back(transaction, id).await?)
}

/// Lets a device back in.
pub(super) async fn release(
    transaction: &mut Transaction,
    id: &DeviceId,
    by: &Actor,
    systems: &[System],
) -> Result<Device, RegistryError> {
    let standing = lock(transaction, id).await?;
    let Some(resume_state) = standing.resume_state else {
        return match standing.device.state {
            DeviceState::Retired => Err(RegistryError::WrongState(DeviceState::Retired)),
            DeviceState::Admitted | DeviceState::Enrolled | DeviceState::Quarantined => Ok(standing.device),
        };
    };
    let statement = sql("UPDATE device SET state = $2, resume_state = NULL WHERE id = $1");
    transaction.execute(statement.bind(id).bind(&resume_state)).await?;
    jobs::place(transaction, id, systems, JobAction::Ensure).await?;
    let detail = serde_json::json!({ "state": resume_state });
    audit::append_about(transaction, by.clone(), "device.released", id, detail);
    Ok(devices::read_back(transaction, id).await?)
}

/// Changes what people say of a device.
pub(super) async fn describe(
    transaction: &mut Transaction,
    id: &DeviceId,
    by: &Actor,
    changes: &DeviceChanges,
) -> Result<Device, RegistryError> {
    let before = lock(transaction, id).await?.device;
    if before.state == DeviceState::Retired {
        return Err(RegistryError::WrongState(before.state));
    }
    let statement = sql("UPDATE device
                         SET group_name = COALESCE($2, group_name), display_name = COALESCE($3, display_name),
                             device_type = COALESCE($4, device_type)
                         WHERE id = $1")
    .bind(id)
    .bind_optional(changes.group.as_ref())
    .bind_optional(changes.display_name.as_ref())
    .bind_optional(changes.device_type.as_ref());
    transaction.execute(statement).await?;
    let after = devices::read_back(transaction, id).await?;
    if after == before {
        return Ok(after);
    }
    if after.state == DeviceState::Enrolled {
        jobs::place(transaction, id, &changes.told, JobAction::Ensure).await?;
    }
    let detail = serde_json::json!({
        "group": [before.group, after.group],
        "device_name": [before.display_name, after.display_name],
        "device_type": [before.device_type, after.device_type],
    });
    audit::append_about(transaction, by.clone(), "device.described", id, detail);
    Ok(after)
}

/// Allows one enrollment with new keys until the given time.
pub(super) async fn allow_reenroll(
    transaction: &mut Transaction,
    id: &DeviceId,
    by: &Actor,
    until: Timestamp,
) -> Result<(), RegistryError> {
    let device = lock(transaction, id).await?.device;
    if matches!(device.state, DeviceState::Quarantined | DeviceState::Retired) {
        return Err(RegistryError::WrongState(device.state));
    }
    let statement = sql("UPDATE device SET reenroll_until = $2 WHERE id = $1");
    transaction.execute(statement.bind(id).bind(&until)).await?;
    let detail = serde_json::json!({ "until": crate::domain::rfc3339(until) });
    audit::append_about(transaction, by.clone(), "device.reenroll_allowed", id, detail);
    Ok(())
}

async fn lock(transaction: &mut Transaction, id: &DeviceId) -> Result<devices::Standing, RegistryError> {
    let standing: Result<_, StoreError> = devices::lock(transaction, id).await;
    standing?.ok_or(RegistryError::Unknown)
}
