//! The pool of VPN addresses. Giving one out costs the same at the first and at the last device: the address that
//! has been free for longest, else the next one that was never given out.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use super::Networks;
use super::given::sql_given;
use super::statement::{Row, row, sql, sql_about};
use super::transaction::Transaction;
use crate::domain::{DeviceId, StoreError, VpnNetwork};

/// Adds a network's prefixes, moves its hub, or widens what was part of it. Two pools must not share an address, and
/// none may lose one.
pub(super) async fn ensure_pool(transaction: &mut Transaction, network: &VpnNetwork) -> Result<(), StoreError> {
    for prefix in network.prefixes() {
        ensure_prefix(transaction, prefix, network.hub()).await?;
    }
    Ok(())
}

async fn ensure_prefix(transaction: &mut Transaction, prefix: Ipv4Net, hub: Ipv4Addr) -> Result<(), StoreError> {
    let name = prefix.to_string();
    let first = Ipv4Addr::from(u32::from(prefix.network()) + 1);
    let last = Ipv4Addr::from(u32::from(prefix.broadcast()) - 1);
    let overlap = sql(
        "SELECT network, first_address, last_address, next_address FROM address_pool
                       WHERE network <> $1 AND first_address <= $3 AND last_address >= $2
                       ORDER BY first_address FOR UPDATE",
    )
    .bind(&name)
    .bind(&first)
    .bind(&last);
    // What was given out lies below.
    let mut next = i64::from(u32::from(first));
    for part in transaction.all(overlap).await? {
        if part.get::<Ipv4Addr>("first_address")? < first || part.get::<Ipv4Addr>("last_address")? > last {
            return Err(StoreError::Corrupt {
                column: "address_pool.network",
            });
        }
        next = next.max(part.get("next_address")?);
        let statement = sql("DELETE FROM address_pool WHERE network = $1");
        transaction
            .execute(statement.bind(&part.get::<String>("network")?))
            .await?;
    }
    let statement = sql(
        "INSERT INTO address_pool (network, first_address, last_address, hub_address, next_address)
                         VALUES ($1, $2, $3, $4, $5)
                         ON CONFLICT (network) DO UPDATE SET hub_address = excluded.hub_address",
    )
    .bind(&name)
    .bind(&first)
    .bind(&last)
    .bind(&hub)
    .bind(&next);
    transaction.execute(statement).await.map(drop)
}

/// Addresses that are about to be given out.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) addresses: Vec<Ipv4Addr>,
    /// The pools that some of them are new in, and from where on nothing was given out there then.
    pub(super) next: Vec<(String, i64)>,
}

/// Takes so many addresses out of the pools of these networks; fewer when they are exhausted.
pub(super) async fn allocate(
    transaction: &mut Transaction,
    networks: &Networks,
    wanted: usize,
) -> Result<Vec<Ipv4Addr>, StoreError> {
    let chosen = choose(transaction, networks, wanted).await?;
    let next = chosen.next.iter();
    let rows: Vec<_> = next.map(|(pool, next)| row().bind(pool).bind(next)).collect();
    if !rows.is_empty() {
        let texts = sql_given!(
            (pool, next_address)
            "UPDATE address_pool SET next_address = given.next_address
             FROM given WHERE address_pool.network = given.pool"
        );
        transaction.execute(sql_about(texts, rows)).await?;
    }
    Ok(chosen.addresses)
}

/// Chooses what [`allocate`] takes, and leaves it to the caller to write down what is next.
pub(super) async fn choose(
    transaction: &mut Transaction,
    networks: &Networks,
    wanted: usize,
) -> Result<Chosen, StoreError> {
    let now = transaction.now;
    // Whoever holds the pools decides alone.
    let statement = sql("SELECT network, first_address, last_address, hub_address, next_address,
                                EXISTS (SELECT 1 FROM released_address
                                    WHERE free_at <= $1 AND address BETWEEN first_address AND last_address) AS has_free
                         FROM address_pool
                         ORDER BY first_address FOR UPDATE");
    let mut pools = Vec::new();
    for pool in transaction.all(statement.bind(&now)).await? {
        if networks.contains(&pool.get::<String>("network")?) {
            pools.push(pool);
        }
    }
    let mut chosen = Chosen::default();
    for pool in &pools {
        let left = wanted - chosen.addresses.len();
        if left > 0 && pool.get_flag("has_free")? {
            chosen.addresses.extend(take_released(transaction, pool, left).await?);
        }
    }
    for pool in &pools {
        let left = wanted - chosen.addresses.len();
        if left > 0 {
            chosen.add_new(pool, left)?;
        }
    }
    Ok(chosen)
}

impl Chosen {
    /// Adds addresses that were never given out.
    fn add_new(&mut self, pool: &Row, wanted: usize) -> Result<(), StoreError> {
        let (next, last): (i64, i64) = (pool.get("next_address")?, pool.get("last_address")?);
        let hub: i64 = pool.get("hub_address")?;
        let taken: Vec<i64> = (next..=last).filter(|address| *address != hub).take(wanted).collect();
        let Some(newest) = taken.last() else { return Ok(()) };
        self.next.push((pool.get("network")?, newest + 1));
        for number in taken {
            let column = "address_pool.next_address";
            let number = u32::try_from(number).map_err(|_| StoreError::Corrupt { column })?;
            self.addresses.push(Ipv4Addr::from(number));
        }
        Ok(())
    }
}

/// Puts a decommissioned device's address into quarantine.
pub(super) async fn release(
    transaction: &mut Transaction,
    device: &DeviceId,
    address: Ipv4Addr,
    quarantine: Duration,
) -> Result<(), StoreError> {
    let free_at = transaction.now + quarantine;
    let statement = sql("INSERT INTO released_address (address, device_id, free_at) VALUES ($1, $2, $3)");
    transaction
        .execute(statement.bind(&address).bind(device).bind(&free_at))
        .await
        .map(drop)
}

/// Takes used addresses again, only when their quarantine is over and neither a session nor a peer that the hub has
/// yet to forget can still reach them.
async fn take_released(transaction: &mut Transaction, pool: &Row, wanted: usize) -> Result<Vec<Ipv4Addr>, StoreError> {
    let now = transaction.now;
    let statement = sql("SELECT address FROM released_address
                         WHERE free_at <= $1 AND address BETWEEN $2 AND $3
                             AND NOT EXISTS (SELECT 1 FROM session
                                 WHERE session.device_id = released_address.device_id AND closed_at IS NULL)
                             AND NOT EXISTS (SELECT 1 FROM job
                                 WHERE job.device_id = released_address.device_id AND system = 'vpn')
                             AND NOT EXISTS (SELECT 1 FROM address_pool WHERE hub_address = address)
                         ORDER BY free_at, address
                         LIMIT $4");
    let statement = statement
        .bind(&now)
        .bind(&pool.get::<Ipv4Addr>("first_address")?)
        .bind(&pool.get::<Ipv4Addr>("last_address")?)
        .bind(&i64::try_from(wanted).unwrap_or(i64::MAX));
    let mut addresses = Vec::new();
    for row in transaction.all(statement).await? {
        let address: Ipv4Addr = row.get("address")?;
        transaction
            .execute(sql("DELETE FROM released_address WHERE address = $1").bind(&address))
            .await?;
        addresses.push(address);
    }
    Ok(addresses)
}
