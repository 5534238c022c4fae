//! The prefixes of the device network and the hub that devices were told about.

use async_trait::async_trait;
use ipnet::Ipv4Net;

use super::statement::{Row, sql};
use super::transaction::{Transaction, in_transaction};
use super::{Store, addresses};
use crate::domain::{
    Actor, AddPrefixError, AuditEvent, InvalidVpnNetwork, NetworkPlan, PoolFill, StoreError, VpnNetwork, WireguardKey,
};

#[async_trait]
impl NetworkPlan for Store {
    async fn further_prefixes(&self) -> Result<Vec<Ipv4Net>, StoreError> {
        let rows = self.all(sql("SELECT prefix FROM vpn_prefix ORDER BY added_at, prefix"));
        prefixes(&rows.await?)
    }

    async fn add_prefix(&self, configured: VpnNetwork, prefix: Ipv4Net, by: &Actor) -> Result<(), AddPrefixError> {
        in_transaction!(self, |transaction| add_prefix(transaction, configured, prefix, by)).await
    }

    async fn pool_fill(&self) -> Result<PoolFill, StoreError> {
        let statement = sql(
            "SELECT (SELECT count(*) FROM device WHERE address IS NOT NULL) AS in_use,
                                    (SELECT count(*) FROM released_address) AS in_quarantine",
        );
        let row = self.optional(statement).await?.ok_or(StoreError::Corrupt {
            column: "device.address",
        })?;
        Ok(PoolFill {
            in_use: row.get::<u32>("in_use")?.into(),
            in_quarantine: row.get::<u32>("in_quarantine")?.into(),
        })
    }

    async fn find_hub(&self) -> Result<Option<WireguardKey>, StoreError> {
        let row = self.optional(sql("SELECT public_key FROM vpn_hub WHERE id = 1"));
        row.await?.map(|row| row.get("public_key")).transpose()
    }

    async fn hub_on_record(&self, found: WireguardKey) -> Result<WireguardKey, StoreError> {
        if let Some(key) = self.find_hub().await? {
            return Ok(key);
        }
        in_transaction!(self, |transaction| record_hub(transaction, found)).await?;
        let key = self.find_hub().await?;
        key.ok_or(StoreError::Corrupt { column: "vpn_hub.id" })
    }

    async fn replace_hub(&self, key: WireguardKey, by: &Actor) -> Result<(), StoreError> {
        in_transaction!(self, |transaction| replace_hub(transaction, key, by)).await
    }
}

async fn add_prefix(
    transaction: &mut Transaction,
    configured: VpnNetwork,
    prefix: Ipv4Net,
    by: &Actor,
) -> Result<(), AddPrefixError> {
    // Whoever holds the pools decides alone.
    let pools = sql("SELECT network FROM address_pool ORDER BY first_address FOR UPDATE");
    let pools = transaction.all(pools).await?;
    let known = sql("SELECT prefix FROM vpn_prefix ORDER BY added_at, prefix FOR UPDATE");
    let known = prefixes(&transaction.all(known).await?)?;
    let network = known
        .iter()
        .try_fold(configured, |network, prefix| network.and(*prefix))?;
    let wider = network.and(prefix)?;
    if wider == network {
        return Ok(());
    }
    let prefix = prefix.trunc();
    // A pool of a former configuration may still have devices in it.
    for pool in pools {
        let former: Ipv4Net = pool.get("network")?;
        if former != prefix && (former.contains(&prefix) || prefix.contains(&former)) {
            return Err(InvalidVpnNetwork::Overlap.into());
        }
    }
    let now = transaction.now;
    let statement = sql("INSERT INTO vpn_prefix (prefix, added_by, added_at) VALUES ($1, $2, $3)");
    transaction
        .execute(statement.bind(&prefix).bind_text(&by.to_string()).bind(&now))
        .await?;
    addresses::ensure_pool(transaction, &wider).await?;
    let detail = serde_json::json!({ "prefix": prefix.to_string() });
    record(transaction, by, "network.prefix_added", detail);
    Ok(())
}

async fn record_hub(transaction: &mut Transaction, key: WireguardKey) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql("INSERT INTO vpn_hub (id, public_key, recorded_at) VALUES (1, $1, $2) ON CONFLICT DO NOTHING");
    if transaction.execute(statement.bind(&key).bind(&now)).await? == 0 {
        return Ok(());
    }
    let detail = serde_json::json!({ "public_key": key });
    record(transaction, &Actor::Bridge, "network.hub_recorded", detail);
    Ok(())
}

async fn replace_hub(transaction: &mut Transaction, key: WireguardKey, by: &Actor) -> Result<(), StoreError> {
    let now = transaction.now;
    let statement = sql(
        "INSERT INTO vpn_hub (id, public_key, recorded_at) VALUES (1, $1, $2)
                         ON CONFLICT (id) DO UPDATE SET public_key = excluded.public_key, recorded_at = excluded.recorded_at",
    );
    transaction.execute(statement.bind(&key).bind(&now)).await?;
    let detail = serde_json::json!({ "public_key": key });
    record(transaction, by, "network.hub_replaced", detail);
    Ok(())
}

fn record(transaction: &mut Transaction, actor: &Actor, action: &'static str, detail: serde_json::Value) {
    let event = AuditEvent {
        actor: actor.clone(),
        action,
        device_id: None,
        detail,
    };
    transaction.record(event);
}

fn prefixes(rows: &[Row]) -> Result<Vec<Ipv4Net>, StoreError> {
    rows.iter().map(|row| row.get("prefix")).collect()
}
