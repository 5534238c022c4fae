//! Why devices are refused what they ask for, also for the audit trail.

use std::sync::Arc;

use common::domain::{
    Actor, AdmitError, AuditEvent, AuditTrail, DeviceId, DeviceState, InvalidWireguardKey, StoreError,
};

use super::alignment::AlignError;
use super::csr::CsrRejection;
use crate::ports::UpstreamError;

/// Why a device is not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The request for a certificate is not acceptable.
    #[error("the CSR is not acceptable")]
    Csr(#[from] CsrRejection),
    /// The WireGuard key is none, or the hub's own.
    #[error("the WireGuard key is none that a device may have")]
    WireguardKeyInvalid,
    /// What the device is called, or says it is, is nothing to show people.
    #[error(transparent)]
    LabelInvalid(#[from] InvalidLabel),
    /// Token, keys or record do not allow it.
    #[error(transparent)]
    Admit(#[from] AdmitError),
    /// Another system said no, or something that is not believed.
    #[error(transparent)]
    Upstream(UpstreamError),
}

/// A text is not short and plain; the name of its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a short and plain text")]
pub struct InvalidLabel(pub &'static str);

impl From<StoreError> for EnrollError {
    fn from(error: StoreError) -> Self {
        Self::Admit(error.into())
    }
}

impl From<InvalidWireguardKey> for EnrollError {
    fn from(_: InvalidWireguardKey) -> Self {
        Self::WireguardKeyInvalid
    }
}

impl From<AlignError> for EnrollError {
    fn from(error: AlignError) -> Self {
        match error {
            AlignError::Upstream(error) => Self::Upstream(error),
            AlignError::Store(error) => error.into(),
        }
    }
}

/// Records refusals: fixed words, nothing of the request.
#[derive(Clone)]
pub(super) struct Refusals(Arc<dyn AuditTrail>);

impl Refusals {
    pub(super) fn new(audit: Arc<dyn AuditTrail>) -> Self {
        Self(audit)
    }

    /// Records why a device was refused what it asked for.
    pub(super) async fn record(
        &self,
        id: &DeviceId,
        action: &'static str,
        reason: &'static str,
    ) -> Result<(), StoreError> {
        let event = AuditEvent {
            actor: Actor::Device(id.clone()),
            action,
            device_id: Some(id.clone()),
            detail: serde_json::json!({ "reason": reason }),
        };
        self.0.record(&event).await
    }
}

impl std::fmt::Debug for Refusals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Refusals")
    }
}

/// Why a device does not get what it has just asked for: what has become of it since.
pub(super) fn overtaken(state: Option<DeviceState>) -> AdmitError {
    match state {
        Some(DeviceState::Quarantined) => AdmitError::Quarantined,
        Some(DeviceState::Retired) | None => AdmitError::Retired,
        // It asked again, or enrolled again.
        Some(DeviceState::Admitted | DeviceState::Enrolled) => AdmitError::Conflict,
    }
}

/// The words for a refusal; none when nothing was decided, because something is away.
pub(super) fn reason(error: &EnrollError) -> Option<&'static str> {
    match error {
        EnrollError::Csr(rejection) => Some(rejection.code()),
        EnrollError::WireguardKeyInvalid => Some("wireguard_key_invalid"),
        EnrollError::LabelInvalid(InvalidLabel(_)) => Some("label_invalid"),
        EnrollError::Admit(error) => error.code(),
        EnrollError::Upstream(UpstreamError::Refused { .. }) => Some("authority_refused"),
        EnrollError::Upstream(UpstreamError::Unexpected { .. }) => Some("authority_not_believed"),
        EnrollError::Upstream(UpstreamError::Unavailable { .. }) => None,
    }
}
