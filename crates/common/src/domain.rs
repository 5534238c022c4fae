//! Words and rules of the trade. Nothing here does I/O; everything here is proof that a check was done.

mod clock;
mod device;
mod device_id;
mod digest;
mod operator;
mod vpn;
mod wireguard_key;

mod audit;
mod directory;
mod drift;
mod enrollment;
mod events;
mod jobs;
mod metrics;
mod network_plan;
mod processes;
mod registry;
mod sessions;
mod updates;

pub use audit::{Actor, AuditEvent, AuditFilter, AuditRecord, AuditTrail};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp, rfc3339};
pub use device::{Device, DeviceState, GroupName, InvalidGroupName, LiveFacts, is_online};
pub use device_id::{DeviceId, InvalidDeviceId};
pub use digest::{Digest, InvalidDigest};
pub use directory::{DeviceDirectory, DeviceFilter, DevicePage, DeviceView, NetworkMember};
pub use drift::{Drift, DriftKind, DriftLedger, DriftReport};
pub use enrollment::{
    Admission, AdmitError, Application, CertificateIntent, CertificateRecord, CertificateState, EnrollmentToken,
    EnrollmentTokens, IdPattern, InvalidIdPattern, IssuedCertificate, NewEnrollmentToken, Renewal, ServiceEntry,
    TokenPurpose,
};
pub use events::{EventInbox, EventOrders, EventOutcome, PlatformEvent, PlatformEventKind};
pub use jobs::{Job, JobAction, JobCount, JobQueue, JobState, System};
pub use metrics::{MetricsKeys, SealedMetricsKey};
pub use network_plan::{AddPrefixError, NetworkPlan, PoolFill};
pub use operator::{Operator, Role};
pub use processes::{ForwardPass, ProxyProcesses};
pub use registry::{DeviceChanges, DeviceRegistry, RegistryError, RetireError, Retired, StoreError};
pub use sessions::{
    NewSession, SessionEnding, SessionId, SessionLedger, SessionRecord, SessionStanding, TerminalPurpose, Ticket,
    TicketOffice,
};
pub use updates::{UpdateHistory, UpdateLedger, UpdateReport, UpdateStatus};
pub use vpn::{CurrentNetwork, InvalidVpnNetwork, VpnAddress, VpnNetwork};
pub use wireguard_key::{InvalidWireguardKey, WireguardKey, WireguardPrivateKey};
