//! Reading devices.

use async_trait::async_trait;

use super::statement::{Row, sql};
use super::transaction::Transaction;
use super::{Store, certificates};
use crate::domain::{
    CertificateRecord, Device, DeviceDirectory, DeviceFilter, DeviceId, DevicePage, DeviceState, DeviceView, LiveFacts,
    NetworkMember, StoreError, Timestamp, WireguardKey,
};

#[async_trait]
impl DeviceDirectory for Store {
    async fn find(&self, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        let statement = sql(
            "SELECT id, state, group_name, device_type, display_name, epoch, address, wireguard_key,
                                    created_at, enrolled_at, retired_at, last_connected_at
                             FROM device WHERE id = $1",
        );
        self.optional(statement.bind(id))
            .await?
            .as_ref()
            .map(device)
            .transpose()
    }

    async fn find_with_others(&self, id: &DeviceId) -> Result<Option<Device>, StoreError> {
        self.find_in_turn(id).await
    }

    async fn view(&self, id: &DeviceId) -> Result<Option<DeviceView>, StoreError> {
        let statement = sql("SELECT * FROM passport WHERE id = $1");
        self.optional(statement.bind(id))
            .await?
            .as_ref()
            .map(device_view)
            .transpose()
    }

    async fn list(&self, filter: &DeviceFilter) -> Result<DevicePage, StoreError> {
        let limit = usize::from(filter.limit.clamp(1, 1000));
        let groups = filter.groups.as_ref().map(|groups| {
            // No group name has a comma in it.
            groups
                .iter()
                .fold(",".to_owned(), |list, group| list + group.as_str() + ",")
        });
        let rows = self
            .all(
                sql("SELECT * FROM passport
                     WHERE id > $1
                         AND ($2 IS NULL OR $2 LIKE '%,' || group_name || ',%')
                         AND ($3 IS NULL OR state = $3)
                         AND ($4 IS NULL OR id LIKE $4 ESCAPE '!' OR lower(display_name) LIKE $4 ESCAPE '!')
                     ORDER BY id
                     LIMIT $5")
                .bind_text(filter.after.as_ref().map_or("", DeviceId::as_str))
                .bind_optional(groups.as_ref())
                .bind_optional(filter.state.as_ref())
                .bind_optional(filter.text.as_deref().map(contains_pattern).as_ref())
                .bind(&i64::try_from(limit + 1).expect("at most 1001")),
            )
            .await?;
        let mut views = rows.iter().map(device_view).collect::<Result<Vec<_>, _>>()?;
        let is_last = views.len() <= limit;
        views.truncate(limit);
        let next = if is_last {
            None
        } else {
            views.last().map(|view| view.device.id.clone())
        };
        Ok(DevicePage { views, next })
    }

    async fn certificates(&self, id: &DeviceId) -> Result<Vec<CertificateRecord>, StoreError> {
        let mut snapshot = self.snapshot().await?;
        certificates::unexpired(&mut snapshot, id).await
    }

    async fn vpn_members(&self) -> Result<Vec<NetworkMember>, StoreError> {
        // Subqueries and no joins: a plan that is made while a new database is empty is kept while it grows.
        let statement = sql("SELECT device.id, address, wireguard_key,
                                 (SELECT endpoint FROM device_live WHERE device_live.device_id = device.id) AS endpoint
                             FROM device
                             WHERE device.state IN ('admitted', 'enrolled') AND (SELECT certificate.state
                                     FROM certificate WHERE certificate.id = device.certificate_id) = 'active'
                                 AND address IS NOT NULL AND wireguard_key IS NOT NULL
                             ORDER BY device.id");
        self.all(statement).await?.iter().map(network_member).collect()
    }

    async fn wireguard_keys(&self, id: &DeviceId) -> Result<Vec<WireguardKey>, StoreError> {
        let statement = sql("SELECT public_key FROM wireguard_key WHERE device_id = $1 ORDER BY first_seen_at");
        let rows = self.all(statement.bind(id)).await?;
        rows.iter().map(|row| row.get("public_key")).collect()
    }

    async fn count_vpn_members(&self) -> Result<usize, StoreError> {
        let statement = sql("SELECT count(*) AS members
                             FROM device
                             WHERE device.state IN ('admitted', 'enrolled') AND (SELECT certificate.state
                                     FROM certificate WHERE certificate.id = device.certificate_id) = 'active'
                                 AND address IS NOT NULL AND wireguard_key IS NOT NULL");
        let row = self.optional(statement).await?;
        let count: u32 = row.ok_or(StoreError::Corrupt { column: "device.id" })?.get("members")?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

/// A device with what only decisions need.
pub(super) struct Standing {
    pub(super) device: Device,
    /// Where it goes when it is released.
    pub(super) resume_state: Option<DeviceState>,
    /// Until when it may enroll with new keys.
    pub(super) reenroll_until: Option<Timestamp>,
}

/// Reads a device and keeps others from changing it until the transaction ends.
pub(super) async fn lock(transaction: &mut Transaction, id: &DeviceId) -> Result<Option<Standing>, StoreError> {
    let statement = sql(
        "SELECT id, state, resume_state, group_name, device_type, display_name, epoch, address,
                                wireguard_key, reenroll_until, created_at, enrolled_at, retired_at, last_connected_at
                         FROM device WHERE id = $1 FOR UPDATE",
    );
    let Some(row) = transaction.optional(statement.bind(id)).await? else {
        return Ok(None);
    };
    Ok(Some(Standing {
        device: device(&row)?,
        resume_state: row.optional("resume_state")?,
        reenroll_until: row.optional("reenroll_until")?,
    }))
}

/// Reads a device that this transaction has just written.
pub(super) async fn read_back(transaction: &mut Transaction, id: &DeviceId) -> Result<Device, StoreError> {
    let standing = lock(transaction, id).await?;
    standing
        .map(|standing| standing.device)
        .ok_or(StoreError::Corrupt { column: "device.id" })
}

pub(super) fn device(row: &Row) -> Result<Device, StoreError> {
    Ok(Device {
        id: row.get("id")?,
        state: row.get("state")?,
        group: row.get("group_name")?,
        device_type: row.optional("device_type")?,
        display_name: row.optional("display_name")?,
        epoch: row.get("epoch")?,
        address: row.optional("address")?,
        wireguard_key: row.optional("wireguard_key")?,
        created_at: row.get("created_at")?,
        enrolled_at: row.optional("enrolled_at")?,
        retired_at: row.optional("retired_at")?,
        last_connected_at: row.optional("last_connected_at")?,
    })
}

fn network_member(row: &Row) -> Result<NetworkMember, StoreError> {
    Ok(NetworkMember {
        device_id: row.get("id")?,
        key: row.get("wireguard_key")?,
        address: row.get("address")?,
        endpoint: row.optional("endpoint")?,
    })
}

fn device_view(row: &Row) -> Result<DeviceView, StoreError> {
    let live = row
        .optional::<DeviceId>("live_device_id")?
        .map(|device_id| live_facts(row, device_id))
        .transpose()?;
    let has_certificate = row.optional::<String>("certificate_id")?.is_some();
    let certificate = if has_certificate {
        Some(certificates::record(row)?)
    } else {
        None
    };
    Ok(DeviceView {
        device: device(row)?,
        live,
        certificate,
        update: row.optional("update_status")?,
    })
}

fn live_facts(row: &Row, device_id: DeviceId) -> Result<LiveFacts, StoreError> {
    Ok(LiveFacts {
        device_id,
        key: row.get("wireguard_key")?,
        last_handshake_at: row.optional("last_handshake_at")?,
        endpoint: row.optional("endpoint")?,
        received_bytes: row.get("received_bytes")?,
        sent_bytes: row.get("sent_bytes")?,
    })
}

/// The `LIKE` pattern of "contains this text, in any case", with `!` as its escape character.
fn contains_pattern(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for character in text.to_lowercase().chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern + "%"
}
