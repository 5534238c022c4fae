//! What must hold in the database whatever happened: the database's part of `fsck`.

use super::Store;
use super::statement::{Statement, sql};
use crate::domain::{AuditTrail, StoreError};

impl Store {
    /// Verifies what must always hold; returns what is broken, one sentence each.
    ///
    /// Most of it the constraints of the tables forbid; this also finds what was changed by hand or came with a
    /// restored backup.
    pub async fn check_invariants(&self) -> Result<Vec<String>, StoreError> {
        let mut faults = Vec::new();
        let mut snapshot = self.snapshot().await?;
        for (sentence, statement) in rules() {
            for row in snapshot.all(statement).await? {
                faults.push(format!("{sentence}: `{}`", row.get::<String>("subject")?));
            }
        }
        drop(snapshot);
        faults.extend(self.verify_audit().await?);
        Ok(faults)
    }
}

/// Each rule with the statement that lists what breaks it.
fn rules() -> Vec<(&'static str, Statement)> {
    let mut rules = identity_rules();
    rules.extend(address_rules());
    rules
}

fn identity_rules() -> Vec<(&'static str, Statement)> {
    vec![
        (
            "a device that is in use has a WireGuard key that is not recorded as its present one",
            sql("SELECT device.id AS subject FROM device
                 LEFT JOIN wireguard_key ON wireguard_key.public_key = device.wireguard_key
                     AND wireguard_key.device_id = device.id AND wireguard_key.replaced_at IS NULL
                 WHERE device.state <> 'retired' AND wireguard_key.public_key IS NULL
                 ORDER BY device.id"),
        ),
        (
            "a certificate has a key that is not recorded as its device's",
            sql("SELECT certificate.id AS subject FROM certificate
                 LEFT JOIN device_key ON device_key.key_digest = certificate.key_digest
                     AND device_key.device_id = certificate.device_id
                 WHERE device_key.key_digest IS NULL
                 ORDER BY certificate.id"),
        ),
        (
            "a device in service has no active certificate of its own",
            sql("SELECT device.id AS subject FROM device
                 LEFT JOIN certificate ON certificate.id = device.certificate_id
                     AND certificate.device_id = device.id AND certificate.state = 'active'
                 WHERE (device.state = 'enrolled' OR device.resume_state = 'enrolled') AND certificate.id IS NULL
                 ORDER BY device.id"),
        ),
        (
            "a decommissioned device has a certificate that is not revoked",
            sql("SELECT device.id AS subject FROM device
                 WHERE device.state = 'retired' AND EXISTS (SELECT 1 FROM certificate
                     WHERE certificate.device_id = device.id AND certificate.state <> 'revoked')
                 ORDER BY device.id"),
        ),
        (
            "an enrollment token's count is not that of its intents",
            sql("SELECT id AS subject FROM enrollment_token
                 LEFT JOIN (SELECT token_id, count(*) AS intents FROM certificate GROUP BY token_id) AS spent
                     ON spent.token_id = enrollment_token.id
                 WHERE used > quota OR used <> COALESCE(intents, 0)
                 ORDER BY id"),
        ),
    ]
}

fn address_rules() -> Vec<(&'static str, Statement)> {
    vec![
        (
            "a device has the address of another one",
            sql("SELECT device.id AS subject FROM device
                 WHERE EXISTS (SELECT 1 FROM device other
                     WHERE other.address = device.address AND other.id <> device.id)
                 ORDER BY device.id"),
        ),
        (
            "a device that is in use has no address that its pool gave out",
            sql("SELECT device.id AS subject FROM device
                 WHERE device.state <> 'retired' AND NOT EXISTS (SELECT 1 FROM address_pool
                     WHERE device.address >= first_address AND device.address < next_address
                         AND device.address <> hub_address)
                 ORDER BY device.id"),
        ),
        (
            "an address in quarantine is in use by a device",
            sql("SELECT device.id AS subject FROM device
                 JOIN released_address ON released_address.address = device.address
                 ORDER BY device.id"),
        ),
        (
            "an address in quarantine belongs to a device that is in use",
            sql("SELECT released_address.device_id AS subject FROM released_address
                 JOIN device ON device.id = released_address.device_id
                 WHERE device.state <> 'retired'
                 ORDER BY released_address.device_id"),
        ),
    ]
}
