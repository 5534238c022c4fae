//! The entry of many devices into service at once, the ones that nothing stands in the way of.

use std::collections::HashSet;
use std::sync::Arc;

use super::changes::EnterService;
use super::given::sql_given;
use super::jobs::{self, Order};
use super::statement::{Values, row, sql_about};
use super::transaction::Transaction;
use super::{certificates, life};
use crate::domain::{CertificateState, JobAction, ServiceEntry, StoreError};

/// Records certificates and puts their devices into service, all of them or none. Says nothing of an intent that is
/// there twice: it keeps its first certificate, which is seen when they come one by one.
pub(super) async fn enter(
    transaction: &mut Transaction,
    changes: &[Arc<EnterService>],
) -> Result<Vec<Option<ServiceEntry>>, StoreError> {
    let mut seen = HashSet::new();
    let plain: Vec<_> = changes.iter().map(|change| seen.insert(change.intent.id)).collect();
    let entries = || {
        changes
            .iter()
            .zip(&plain)
            .filter(|(_, plain)| **plain)
            .map(|(it, _)| it)
    };
    write(
        transaction,
        entries().map(|change| to_row(transaction, change)).collect(),
    )
    .await?;
    let mut orders = Vec::new();
    for change in entries() {
        let device = &change.intent.device_id;
        certificates::record_issued(transaction, device, &change.issued, CertificateState::Active);
        life::record_enrolled(transaction, device, change.epoch);
        let action = JobAction::Ensure;
        orders.extend(change.systems.iter().map(|&system| Order { device, system, action }));
    }
    jobs::place_all(transaction, &orders).await?;
    let entry = |change: &EnterService| ServiceEntry {
        certificate: change.issued.clone(),
        is_as_admitted: true,
    };
    let all = changes.iter().zip(plain);
    Ok(all.map(|(change, plain)| plain.then(|| entry(change))).collect())
}

fn to_row(transaction: &Transaction, change: &EnterService) -> Values {
    let EnterService {
        intent, epoch, issued, ..
    } = change;
    row()
        .bind(&intent.id)
        .bind(&intent.device_id)
        .bind(epoch)
        .bind(&issued.serial)
        .bind(&issued.leaf_pem)
        .bind(&issued.ca_chain_pem)
        .bind(&issued.intermediates)
        .bind(&issued.not_before)
        .bind(&issued.not_after)
        .bind(&transaction.now)
}

/// Whoever shuts a device out or lets it in again changes its epoch, and whoever admits it anew its intent, so these are
/// all that has to be looked at; that it has one active certificate at most, the database sees to.
async fn write(transaction: &mut Transaction, rows: Vec<Values>) -> Result<(), StoreError> {
    let expected = rows.len() * 2;
    let texts = sql_given!(
        (intent, device, epoch, serial, leaf_pem, ca_chain_pem, intermediates, not_before, not_after, now)
        devices: "UPDATE device SET state = 'enrolled', enrolled_at = COALESCE(device.enrolled_at, given.now)
                  FROM given
                  WHERE device.id = given.device AND device.state = 'admitted' AND device.epoch = given.epoch
                      AND device.certificate_id = given.intent
                      AND device.address IS NOT NULL AND device.wireguard_key IS NOT NULL",
        certificates: "UPDATE certificate
                       SET state = 'active', serial = given.serial, leaf_pem = given.leaf_pem,
                           ca_chain_pem = given.ca_chain_pem, intermediates = given.intermediates,
                           not_before = given.not_before, not_after = given.not_after, issued_at = given.now
                       FROM given
                       WHERE certificate.id = given.intent AND certificate.state = 'intended'"
    );
    transaction.change(sql_about(texts, rows), expected).await
}
