use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Actor, StoreError, System, Timestamp};

/// How an outside system differs from the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// It does not know a device that it should.
    Missing,
    /// It lets a device in that is shut out or decommissioned.
    ShutOutPresent,
    /// It has what no record of ours names. It is shown, and left alone: somebody else may have made it.
    Foreign,
    /// It would believe other credentials than the device has.
    WrongCredentials,
    /// It says something else about the device.
    WrongMetadata,
}

impl DriftKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Missing,
        Self::ShutOutPresent,
        Self::Foreign,
        Self::WrongCredentials,
        Self::WrongMetadata,
    ];

    /// Returns the stored form, which is also what people see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::ShutOutPresent => "shut_out_present",
            Self::Foreign => "foreign",
            Self::WrongCredentials => "wrong_credentials",
            Self::WrongMetadata => "wrong_metadata",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Where.
    pub system: System,
    /// What it concerns, by its name there: a device id, or a stranger's name.
    pub name: String,
    /// What is different.
    pub kind: DriftKind,
}

/// What the last comparison of every system found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftReport {
    /// When each system was compared last.
    pub checked: Vec<(System, Timestamp)>,
    /// What differed then, at most 10,000.
    pub drifts: Vec<Drift>,
}

/// What comparisons found, and the repairs that they make necessary.
#[async_trait]
pub trait DriftLedger: Send + Sync + 'static {
    /// Records what a comparison of a system found, in place of what was found before.
    async fn record_drift(&self, system: System, drifts: &[Drift]) -> Result<(), StoreError>;

    /// Returns what was found last.
    async fn drift(&self) -> Result<DriftReport, StoreError>;

    /// Orders repairs, each with an audit record, in one transaction; strangers are left alone. Returns how many
    /// were ordered.
    async fn order_repairs(&self, drifts: &[Drift], by: &Actor) -> Result<usize, StoreError>;

    /// Asks for the only right to do something for a while, among all processes; the holder extends it.
    async fn take_lease(&self, name: &'static str, lease: Duration) -> Result<bool, StoreError>;

    /// Gives the right back before it ends.
    async fn end_lease(&self, name: &'static str) -> Result<(), StoreError>;
}
