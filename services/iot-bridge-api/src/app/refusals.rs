//! What devices were refused, for the audit trail.

use std::sync::Arc;

use common::domain::{Actor, AuditEvent, AuditTrail, DeviceId, StoreError};

use super::enrollment::EnrollError;
use crate::ports::UpstreamError;
use common::domain::AdmitError;

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

/// The words for a refusal; none when nothing was decided, because something is away.
pub(super) fn reason(error: &EnrollError) -> Option<&'static str> {
    match error {
        EnrollError::Csr(rejection) => Some(rejection.code()),
        EnrollError::WireguardKeyInvalid => Some("wireguard_key_invalid"),
        EnrollError::Admit(error) => match error {
            AdmitError::InvalidToken => Some("invalid_token"),
            AdmitError::DeviceMismatch => Some("device_mismatch"),
            AdmitError::TokenUsedUp => Some("token_used_up"),
            AdmitError::AlreadyEnrolled => Some("already_enrolled"),
            AdmitError::Conflict => Some("conflict"),
            AdmitError::Quarantined => Some("quarantined"),
            AdmitError::Retired => Some("retired"),
            AdmitError::KeyAlreadyUsed => Some("key_already_used"),
            AdmitError::KeyReused => Some("key_reused"),
            AdmitError::WireguardKeyInUse => Some("wireguard_key_in_use"),
            AdmitError::AddressPoolExhausted => Some("address_pool_exhausted"),
            AdmitError::Store(_) => None,
        },
        EnrollError::Upstream(UpstreamError::Refused { .. }) => Some("authority_refused"),
        EnrollError::Upstream(UpstreamError::Unexpected { .. }) => Some("authority_not_believed"),
        EnrollError::Upstream(UpstreamError::Unavailable { .. }) => None,
    }
}
