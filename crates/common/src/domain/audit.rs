use std::fmt;

use async_trait::async_trait;

use super::{DeviceId, Operator, StoreError, Timestamp};

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A device, proven by its certificate.
    Device(DeviceId),
    /// A person, proven by an access token.
    Operator {
        /// The issuer's stable name of the person.
        subject: String,
        /// The name that people know.
        username: String,
    },
    /// The holder of an enrollment token, by the token's id.
    Token(String),
    /// This program by itself: reconciler, sweep, drain.
    Bridge,
    /// Someone at the command line of the machine.
    Console,
}

impl From<&Operator> for Actor {
    fn from(operator: &Operator) -> Self {
        Self::Operator {
            subject: operator.subject.clone(),
            username: operator.username.clone(),
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(id) => write!(formatter, "device:{id}"),
            Self::Operator { subject, username } => write!(formatter, "operator:{subject}:{username}"),
            Self::Token(id) => write!(formatter, "token:{id}"),
            Self::Bridge => formatter.write_str("bridge"),
            Self::Console => formatter.write_str("console"),
        }
    }
}

/// One decision, before it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// Who.
    pub actor: Actor,
    /// What, dotted: `device.admitted`, `session.opened`, `enrollment.refused`.
    pub action: &'static str,
    /// To which device.
    pub device_id: Option<DeviceId>,
    /// More, as a JSON object without secrets.
    pub detail: serde_json::Value,
}

/// One decision as it stands in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Which process wrote it; each has a chain of its own.
    pub instance: String,
    /// Its place in the chain, from 1, without a gap.
    pub sequence: i64,
    /// When.
    pub at: Timestamp,
    /// Who, as text.
    pub actor: String,
    /// What.
    pub action: String,
    /// To which device.
    pub device_id: Option<String>,
    /// More.
    pub detail: serde_json::Value,
    /// SHA-256 over the record and the hash before it, hex.
    pub hash: String,
}

/// Which records to show; newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only this device's.
    pub device_id: Option<DeviceId>,
    /// Only older than this time.
    pub before: Option<Timestamp>,
    /// At most so many (1 to 1000).
    pub limit: u16,
}

/// The hash-chained record of every decision. It fails closed: what cannot be recorded does not happen.
#[async_trait]
pub trait AuditTrail: Send + Sync + 'static {
    /// Appends a record and returns when it is durable.
    async fn record(&self, event: &AuditEvent) -> Result<(), StoreError>;

    /// Lists records.
    async fn audit(&self, filter: &AuditFilter) -> Result<Vec<AuditRecord>, StoreError>;

    /// Recomputes every chain; returns what does not fit, one sentence each.
    async fn verify_audit(&self) -> Result<Vec<String>, StoreError>;
}
