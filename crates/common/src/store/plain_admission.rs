//! The admission of many new devices at once, the ones that nothing stands in the way of.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use uuid::Uuid;

use super::addresses::{self, Chosen};
use super::changes::Admit;
use super::given::sql_given;
use super::statement::{Row, Values, row, sql_about};
use super::transaction::Transaction;
use super::{audit, tokens};
use crate::domain::{
    Actor, Admission, CertificateIntent, Device, DeviceState, EnrollmentToken, StoreError, WireguardKey,
};

/// Admits those that are new, have good tokens that are not used up, and bring keys that nobody ever had; says nothing
/// of the others.
///
/// Rows are locked in one order everywhere: device, token, keys, addresses, audit chain. Here the devices are new.
pub(super) async fn admit(
    transaction: &mut Transaction,
    changes: &[Arc<Admit>],
) -> Result<Vec<Option<Admission>>, StoreError> {
    let tokens = good_tokens(transaction, changes).await?;
    let wanted = tokens.iter().flatten().count();
    let Chosen { addresses, next } = match changes.first() {
        Some(first) if wanted > 0 => addresses::choose(transaction, &first.networks, wanted).await?,
        Some(_) | None => Chosen::default(),
    };
    let (mut addresses, pools) = (addresses.into_iter(), next.len());
    let mut next = next.into_iter();
    let mut used = HashSet::new();
    let (mut admissions, mut rows) = (Vec::with_capacity(changes.len()), Vec::with_capacity(wanted));
    for (change, token) in changes.iter().zip(tokens) {
        let place = token.and_then(|token| Some((token, addresses.next()?)));
        let Some((token, address)) = place else {
            admissions.push(None);
            continue;
        };
        used.insert(token.id);
        let admission = admission(transaction, change, &token, address);
        let row = to_row(change, &token, &admission, next.next());
        // Where references have to fit after every step, a device refers to its intent when both are there.
        let current = transaction.references_fit_at_the_end().then_some(&admission.intent.id);
        rows.push(row.bind_optional(current));
        let detail = serde_json::json!({ "address": address, "certificate": admission.intent.id, "epoch": 1 });
        let actor = Actor::Token(token.id.to_string());
        audit::append_about(transaction, actor, "device.admitted", &change.id, detail);
        admissions.push(Some(admission));
    }
    if !rows.is_empty() {
        write(transaction, rows, used.len() + pools).await?;
    }
    Ok(admissions)
}

/// Finds and locks the tokens of the applications that are plain, in their order.
async fn good_tokens(
    transaction: &mut Transaction,
    changes: &[Arc<Admit>],
) -> Result<Vec<Option<EnrollmentToken>>, StoreError> {
    let now = transaction.now;
    let (mut ids, mut keys, mut wireguard_keys) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut rows = Vec::with_capacity(changes.len());
    for (place, change) in changes.iter().enumerate() {
        let application = &change.application;
        let is_first = ids.insert(&change.id)
            & keys.insert(application.key_digest.0)
            & wireguard_keys.insert(application.wireguard_key);
        if is_first {
            let place = i64::try_from(place).unwrap_or(i64::MAX);
            let row = row().bind(&place).bind(&change.id).bind(&change.secret);
            let row = row.bind(&application.key_digest).bind(&application.wireguard_key);
            rows.push(row.bind(&now));
        }
    }
    let texts = sql_given!(
        (place, device, secret: bytes, key_digest: bytes, wireguard_key: bytes, now)
        "SELECT given.place, enrollment_token.id, purpose, id_pattern, group_name, quota, used, refused, expires_at,
             revoked_at, created_by, created_at
         FROM given CROSS JOIN enrollment_token
         WHERE enrollment_token.secret_hash = given.secret AND purpose = 'enroll' AND revoked_at IS NULL
             AND expires_at > given.now
             AND NOT EXISTS (SELECT 1 FROM device WHERE device.id = given.device)
             AND NOT EXISTS (SELECT 1 FROM device_key WHERE device_key.key_digest = given.key_digest)
             AND NOT EXISTS (SELECT 1 FROM wireguard_key WHERE public_key = given.wireguard_key)
         ORDER BY enrollment_token.id, given.place FOR UPDATE"
    );
    let mut found: Vec<Option<EnrollmentToken>> = changes.iter().map(|_| None).collect();
    let mut left: HashMap<Uuid, u32> = HashMap::new();
    for row in transaction.all(sql_about(texts, rows)).await? {
        place_token(&row, changes, &mut left, &mut found)?;
    }
    Ok(found)
}

/// Notes a token for the application that it is good for, while it is not used up.
fn place_token(
    row: &Row,
    changes: &[Arc<Admit>],
    left: &mut HashMap<Uuid, u32>,
    found: &mut [Option<EnrollmentToken>],
) -> Result<(), StoreError> {
    let token = tokens::enrollment_token(row)?;
    let place = usize::try_from(row.get::<i64>("place")?).unwrap_or(usize::MAX);
    let left = left.entry(token.id).or_insert(token.quota.saturating_sub(token.used));
    let (Some(change), Some(found)) = (changes.get(place), found.get_mut(place)) else {
        return Ok(());
    };
    if *left > 0 && token.id_pattern.matches(&change.id) {
        *left -= 1;
        *found = Some(token);
    }
    Ok(())
}

fn admission(transaction: &Transaction, change: &Admit, token: &EnrollmentToken, address: Ipv4Addr) -> Admission {
    let application = &change.application;
    Admission {
        device: Device {
            id: change.id.clone(),
            state: DeviceState::Admitted,
            group: token.group.clone(),
            device_type: application.device_type.clone(),
            display_name: application.display_name.clone(),
            epoch: 1,
            address: Some(address),
            wireguard_key: Some(application.wireguard_key),
            created_at: transaction.now,
            enrolled_at: None,
            retired_at: None,
            last_connected_at: None,
        },
        intent: CertificateIntent {
            id: Uuid::now_v7(),
            device_id: change.id.clone(),
            csr_der: application.csr_der.clone(),
            key_digest: application.key_digest,
        },
        issued: None,
        repeated: false,
    }
}

/// `next` is a pool with what is next in it: each is in some row.
fn to_row(change: &Admit, token: &EnrollmentToken, admission: &Admission, next: Option<(String, i64)>) -> Values {
    let application = &change.application;
    let (pool, next) = next.unzip();
    row()
        .bind(&change.id)
        .bind(&token.group)
        .bind_optional(application.device_type.as_ref())
        .bind_optional(application.display_name.as_ref())
        .bind_optional(admission.device.address.as_ref())
        .bind::<WireguardKey>(&application.wireguard_key)
        .bind(&application.wireguard_key_is_ours)
        .bind(&admission.intent.id)
        .bind(&token.id)
        .bind(&application.csr_der)
        .bind(&application.csr_digest)
        .bind(&application.key_digest)
        .bind(&admission.device.created_at)
        .bind_optional(pool.as_ref())
        .bind_optional(next.as_ref())
}

/// Writes the rows, and `others` of what they have in common. What stands in the way of one is an error, or a row too
/// few.
async fn write(transaction: &mut Transaction, rows: Vec<Values>, others: usize) -> Result<(), StoreError> {
    let steps = if transaction.references_fit_at_the_end() { 4 } else { 5 };
    let expected = rows.len() * steps + others;
    let texts = sql_given!(
        (device_id, group_name, device_type, display_name, address, wireguard_key: bytes, made_by_us, intent, token,
         csr_der: bytes, csr_digest: bytes, key_digest: bytes, now, pool, next_address, current)
        tokens: "UPDATE enrollment_token
                 SET used = used + (SELECT count(*) FROM given WHERE given.token = enrollment_token.id)
                 WHERE id IN (SELECT token FROM given) AND revoked_at IS NULL",
        pools: "UPDATE address_pool SET next_address = given.next_address
                FROM given WHERE address_pool.network = given.pool",
        devices: "INSERT INTO device (id, state, group_name, device_type, display_name, epoch, address, wireguard_key,
                      certificate_id, created_at)
                  SELECT device_id, 'admitted', group_name, device_type, display_name, 1, address, wireguard_key,
                      current, now
                  FROM given",
        certificate_keys: "INSERT INTO device_key (key_digest, device_id, first_seen_at)
                           SELECT key_digest, device_id, now FROM given",
        wireguard_keys: "INSERT INTO wireguard_key (public_key, device_id, made_by_us, first_seen_at)
                         SELECT wireguard_key, device_id, made_by_us, now FROM given",
        intents: "INSERT INTO certificate (id, device_id, token_id, state, csr_der, csr_digest, key_digest, created_at)
                  SELECT intent, device_id, token, 'intended', csr_der, csr_digest, key_digest, now FROM given";
        sqlite current: "UPDATE device SET certificate_id = given.intent FROM given WHERE device.id = given.device_id"
    );
    transaction.change(sql_about(texts, rows), expected).await
}
