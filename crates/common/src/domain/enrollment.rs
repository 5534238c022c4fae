use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Actor, Device, DeviceId, Digest, GroupName, RegistryError, StoreError, Timestamp, WireguardKey};

/// What a device asks for, after the CSR and key rules accepted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The PKCS #10 request, DER, exactly as it was checked.
    pub csr_der: Vec<u8>,
    /// SHA-256 of the request; the same request again is the same application.
    pub csr_digest: Digest,
    /// SHA-256 of the subject public key info; a key belongs to one device for all time.
    pub key_digest: Digest,
    /// The device's WireGuard public key.
    pub wireguard_key: WireguardKey,
    /// Whether the bridge made the WireGuard pair because the device sent no key: then a repeated
    /// application replaces it, until the peer's first handshake.
    pub wireguard_key_is_ours: bool,
    /// What kind of device it says it is.
    pub device_type: Option<String>,
    /// What people call it.
    pub display_name: Option<String>,
}

/// What an enrolled device asks for when it renews: a request that the CSR rules accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The PKCS #10 request, DER, exactly as it was checked.
    pub csr_der: Vec<u8>,
    /// SHA-256 of the request; the same request again is the same renewal until its certificate is used.
    pub csr_digest: Digest,
    /// SHA-256 of the subject public key info; a device may keep its key.
    pub key_digest: Digest,
}

/// The durable decision to have a certificate signed, recorded before the authority is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateIntent {
    /// Our own id of the certificate (`UUIDv7`).
    pub id: Uuid,
    /// For whom.
    pub device_id: DeviceId,
    /// The request to sign.
    pub csr_der: Vec<u8>,
    /// The key it is for.
    pub key_digest: Digest,
}

/// A certificate that was verified against its intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Serial number, lower-case hex without leading zeros.
    pub serial: String,
    /// The leaf, one PEM block.
    pub leaf_pem: String,
    /// Intermediates and root, PEM blocks from leaf's issuer to root.
    pub ca_chain_pem: String,
    /// How many of the blocks in `ca_chain_pem`, from the front, are intermediates.
    pub intermediates: u8,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
}

/// Where a certificate is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// Recorded, not signed yet as far as we know.
    Intended,
    /// Renewed, and not yet used over mTLS.
    Pending,
    /// The device's current one.
    Active,
    /// Replaced by a newer one.
    Superseded,
    /// Taken away.
    Revoked,
}

impl CertificateState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Intended,
        Self::Pending,
        Self::Active,
        Self::Superseded,
        Self::Revoked,
    ];

    /// Returns the stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// A certificate as it is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRecord {
    /// The intent it came from.
    pub intent: CertificateIntent,
    /// Where it is in its life.
    pub state: CertificateState,
    /// The certificate; none while only intended.
    pub issued: Option<IssuedCertificate>,
    /// When the intent was recorded.
    pub created_at: Timestamp,
}

/// What [`super::DeviceRegistry::admit`] decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The device, with its address.
    pub device: Device,
    /// What to have signed.
    pub intent: CertificateIntent,
    /// The certificate, when the same application was already answered.
    pub issued: Option<IssuedCertificate>,
    /// Whether the same token brought the same request before.
    pub repeated: bool,
}

/// What [`super::DeviceRegistry::enter_service`] recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The certificate that the intent has now.
    pub certificate: IssuedCertificate,
    /// Whether the device surely went into service as it was admitted. If not, its record says how it is now.
    pub is_as_admitted: bool,
}

/// Why a device is not admitted. Each variant is the caller's reaction.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// No such token, or it is expired or revoked; which one is only in the audit trail.
    #[error("the enrollment token is not valid")]
    InvalidToken,
    /// A good token that does not allow this id.
    #[error("the enrollment token is for another device")]
    DeviceMismatch,
    /// A good token whose quota is used up.
    #[error("the enrollment token is used up")]
    TokenUsedUp,
    /// The id is known with another key and nobody allowed a new enrollment.
    #[error("the device is already enrolled")]
    AlreadyEnrolled,
    /// The token already brought another request for this id, which is still in progress.
    #[error("another enrollment of this device is in progress")]
    Conflict,
    /// The device is shut out for now.
    #[error("the device is in quarantine")]
    Quarantined,
    /// The device was decommissioned.
    #[error("the device was decommissioned")]
    Retired,
    /// The certificate key belongs to another device, now or in the past.
    #[error("the certificate key was already used by another device")]
    KeyAlreadyUsed,
    /// The certificate key is the device's own of before, and a new enrollment brings a new one.
    #[error("the certificate key was already used by this device")]
    KeyReused,
    /// The WireGuard key belongs to another device, now or in the past.
    #[error("the WireGuard key is already in use")]
    WireguardKeyInUse,
    /// No address is free.
    #[error("the VPN has no free address")]
    AddressPoolExhausted,
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AdmitError {
    /// Returns the word for the audit trail; none when nothing was decided, because the database failed.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::InvalidToken => "invalid_token",
            Self::DeviceMismatch => "device_mismatch",
            Self::TokenUsedUp => "token_used_up",
            Self::AlreadyEnrolled => "already_enrolled",
            Self::Conflict => "conflict",
            Self::Quarantined => "quarantined",
            Self::Retired => "retired",
            Self::KeyAlreadyUsed => "key_already_used",
            Self::KeyReused => "key_reused",
            Self::WireguardKeyInUse => "wireguard_key_in_use",
            Self::AddressPoolExhausted => "address_pool_exhausted",
            Self::Store(_) => return None,
        })
    }
}

/// What an enrollment token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenPurpose {
    /// First enrollment.
    Enroll,
    /// A device that was stored longer than its certificate comes back.
    Return,
}

impl TokenPurpose {
    /// Returns the stored form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enroll => "enroll",
            Self::Return => "return",
        }
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Enroll, Self::Return]
            .into_iter()
            .find(|purpose| purpose.as_str() == text)
    }
}

/// Which ids a batch token may enroll: a device id in which `*` stands for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdPattern(String);

/// The text is not an id pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id pattern is 1 to 63 characters of a-z, 0-9, '-' and '*', with at most one '*'")]
pub struct InvalidIdPattern;

impl IdPattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidIdPattern> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'*');
        let stars = text.bytes().filter(|byte| *byte == b'*').count();
        if (1..=DeviceId::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed) && stars <= 1 {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdPattern)
        }
    }

    /// Whether the id fits.
    pub fn matches(&self, id: &DeviceId) -> bool {
        let id = id.as_str();
        match self.0.split_once('*') {
            None => self.0 == id,
            Some((head, tail)) => id.len() >= head.len() + tail.len() && id.starts_with(head) && id.ends_with(tail),
        }
    }

    /// Returns the pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IdPattern {
    type Error = InvalidIdPattern;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<IdPattern> for String {
    fn from(pattern: IdPattern) -> Self {
        pattern.0
    }
}

/// An enrollment token to be made. The secret itself is never stored, only its keyed hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEnrollmentToken {
    /// HMAC-SHA-256 of the secret under the pepper.
    pub secret_hash: Digest,
    /// What it is for.
    pub purpose: TokenPurpose,
    /// Which ids it may enroll.
    pub id_pattern: IdPattern,
    /// The group that its devices get.
    pub group: GroupName,
    /// How many devices it may enroll, at least 1.
    pub quota: u32,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// An enrollment token as it is on record: "412 of 500 used, 3 refused".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollmentToken {
    /// Its public name (`UUIDv7`).
    pub id: Uuid,
    /// What it is for.
    pub purpose: TokenPurpose,
    /// Which ids it may enroll.
    pub id_pattern: IdPattern,
    /// The group that its devices get.
    pub group: GroupName,
    /// How many devices it may enroll.
    pub quota: u32,
    /// How many it has enrolled.
    pub used: u32,
    /// How many applications it brought that were refused.
    pub refused: u32,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The enrollment tokens.
#[async_trait]
pub trait EnrollmentTokens: Send + Sync + 'static {
    /// Makes a token.
    async fn create_token(&self, token: &NewEnrollmentToken, by: &Actor) -> Result<EnrollmentToken, StoreError>;

    /// Lists all tokens, newest first.
    async fn tokens(&self) -> Result<Vec<EnrollmentToken>, StoreError>;

    /// Ends a token; repeatable. `RegistryError::Unknown` when there is none of this id.
    async fn revoke_token(&self, id: Uuid, by: &Actor) -> Result<(), RegistryError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_what_its_star_stands_for() {
        let id = |text| DeviceId::parse(text).unwrap();
        let pattern = |text| IdPattern::parse(text).unwrap();

        assert!(pattern("pump-*").matches(&id("pump-7")));
        assert!(pattern("*").matches(&id("a")));
        assert!(pattern("a*a").matches(&id("aba")));
        assert!(!pattern("a*a").matches(&id("a")));
        assert!(!pattern("pump-*").matches(&id("valve-7")));
        assert!(!pattern("pump-7").matches(&id("pump-77")));
    }

    #[test]
    fn a_pattern_with_other_characters_is_refused() {
        for text in ["", "a*b*c", "A", "pump_*", "%"] {
            assert_eq!(IdPattern::parse(text), Err(InvalidIdPattern), "{text:?}");
        }
    }
}
