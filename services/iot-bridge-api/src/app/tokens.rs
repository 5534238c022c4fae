//! Who may enroll: tokens for one device or for a batch.

use std::sync::Arc;
use std::time::Duration;

use common::domain::{
    Actor, Clock, DeviceId, EnrollmentToken, EnrollmentTokens, GroupName, IdPattern, NewEnrollmentToken, RegistryError,
    StoreError, TokenPurpose,
};
use secrecy::SecretString;
use uuid::Uuid;

use super::fleet::MAX_REENROLL_WINDOW;
use super::token_secret::TokenPepper;

/// How long a token lives when nobody says otherwise.
pub const DEFAULT_LIFETIME: Duration = Duration::from_hours(24 * 7);
/// Longest life of a token.
pub const MAX_LIFETIME: Duration = Duration::from_hours(24 * 366);
/// Longest life of a return ticket. It opens the door to the identity of a device in service, so it lives no longer than
/// the other permission to enroll again, [`MAX_REENROLL_WINDOW`].
pub const MAX_RETURN_LIFETIME: Duration = MAX_REENROLL_WINDOW;
/// Largest batch: more than the largest address range has.
pub const MAX_QUOTA: u32 = 2_000_000;

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenOrder {
    /// Which ids it may enroll.
    pub id_pattern: IdPattern,
    /// How many devices, 1 to [`MAX_QUOTA`].
    pub quota: u32,
    /// The group that its devices get.
    pub group: GroupName,
    /// What it is for.
    pub purpose: TokenPurpose,
    /// How long it lives, up to [`MAX_LIFETIME`].
    pub lifetime: Duration,
}

impl TokenOrder {
    /// Orders a token for one device, for a week, in the default group.
    pub fn for_device(id: &DeviceId) -> Self {
        let id_pattern = IdPattern::parse(id.as_str()).expect("every device id is an id pattern");
        Self::for_batch(id_pattern, 1)
    }

    /// Orders a token for a batch, for a week, in the default group.
    pub fn for_batch(id_pattern: IdPattern, quota: u32) -> Self {
        let (group, purpose) = (GroupName::default(), TokenPurpose::Enroll);
        Self {
            id_pattern,
            quota,
            group,
            purpose,
            lifetime: DEFAULT_LIFETIME,
        }
    }

    fn check(&self) -> Result<(), CreateTokenError> {
        if !(1..=MAX_QUOTA).contains(&self.quota) {
            return Err(CreateTokenError::Quota);
        }
        if self.lifetime < Duration::from_secs(1) || self.lifetime > MAX_LIFETIME {
            return Err(CreateTokenError::Lifetime);
        }
        match self.purpose {
            // It replaces the identity of a device that may be in service: never a whole fleet's.
            TokenPurpose::Return if self.quota != 1 || DeviceId::parse(self.id_pattern.as_str()).is_err() => {
                Err(CreateTokenError::ReturnDevice)
            }
            TokenPurpose::Return if self.lifetime > MAX_RETURN_LIFETIME => Err(CreateTokenError::ReturnLifetime),
            TokenPurpose::Enroll | TokenPurpose::Return => Ok(()),
        }
    }
}

/// A token that was just made; its secret is shown this once.
#[derive(Debug)]
pub struct FreshToken {
    /// What the device's maker gets.
    pub secret: SecretString,
    /// What is on record.
    pub token: EnrollmentToken,
}

/// Why a token is not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
    /// No device, or more than exist.
    #[error("the quota must be between 1 and {MAX_QUOTA}")]
    Quota,
    /// No time, or too much.
    #[error("the lifetime must be between one second and 366 days")]
    Lifetime,
    /// A return ticket for more than one device, or for more than once.
    #[error("a return ticket is for one device, and enrolls it once")]
    ReturnDevice,
    /// A return ticket for too long.
    #[error("a return ticket lives for at most seven days")]
    ReturnLifetime,
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes, lists and ends enrollment tokens.
pub struct Tokens {
    records: Arc<dyn EnrollmentTokens>,
    clock: Arc<dyn Clock>,
    pepper: Arc<TokenPepper>,
}

impl Tokens {
    /// Keeps tokens under a pepper.
    pub fn new(records: Arc<dyn EnrollmentTokens>, clock: Arc<dyn Clock>, pepper: Arc<TokenPepper>) -> Self {
        Self { records, clock, pepper }
    }

    /// Makes a token.
    pub async fn create(&self, order: TokenOrder, by: &Actor) -> Result<FreshToken, CreateTokenError> {
        order.check()?;
        let TokenOrder {
            id_pattern,
            quota,
            group,
            purpose,
            lifetime,
        } = order;
        let (secret, digest) = self.pepper.generate();
        let secret_hash = *digest.as_digest();
        let expires_at = self.clock.now() + lifetime;
        let token = NewEnrollmentToken {
            secret_hash,
            purpose,
            id_pattern,
            group,
            quota,
            expires_at,
        };
        let token = self.records.create_token(&token, by).await?;
        Ok(FreshToken { secret, token })
    }

    /// Lists all tokens, newest first.
    pub async fn list(&self) -> Result<Vec<EnrollmentToken>, StoreError> {
        self.records.tokens().await
    }

    /// Ends a token; repeatable.
    pub async fn revoke(&self, id: Uuid, by: &Actor) -> Result<(), RegistryError> {
        self.records.revoke_token(id, by).await
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Tokens")
    }
}
