use std::time::Duration;

use async_trait::async_trait;
use common::domain::{Actor, Drift, DriftLedger, DriftReport, StoreError, System};
use tokio::sync::watch;

/// The right to compare or to correct, and nothing else of a ledger.
pub(crate) struct Lease {
    is_free: bool,
    is_ours: watch::Sender<bool>,
}

impl Lease {
    /// Whoever asks gets it; `is_ours` shows who has it.
    pub(crate) fn free(is_ours: watch::Sender<bool>) -> Self {
        Self { is_free: true, is_ours }
    }

    pub(crate) fn taken_by_another() -> Self {
        Self {
            is_free: false,
            is_ours: watch::Sender::new(false),
        }
    }
}

#[async_trait]
impl DriftLedger for Lease {
    async fn record_drift(&self, _system: System, _drifts: &[Drift]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn drift(&self) -> Result<DriftReport, StoreError> {
        Ok(DriftReport::default())
    }

    async fn order_repairs(&self, _drifts: &[Drift], _by: &Actor) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn take_lease(&self, _name: &'static str, _lease: Duration) -> Result<bool, StoreError> {
        self.is_ours.send_replace(self.is_free);
        Ok(self.is_free)
    }

    async fn end_lease(&self, _name: &'static str) -> Result<(), StoreError> {
        self.is_ours.send_replace(false);
        Ok(())
    }
}
