//! What the caller hears when a credential is refused; both services say it in the same bytes.

use std::time::Duration;

use http::StatusCode;

use super::{CredentialError, TokenError};
use crate::chassis::problem::{Problem, ProblemType};

/// The problem of a token that is not believed.
pub const INVALID_TOKEN: ProblemType = ProblemType {
    slug: "invalid-token",
    status: StatusCode::UNAUTHORIZED,
    meaning: "The access token is missing, wrong or expired.",
};

/// When to try again while the issuer's keys are away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            // RFC 6750 §3.1; the reason stays in the log.
            TokenError::Invalid(_) => Self::of(&INVALID_TOKEN).with_challenge("Bearer error=\"invalid_token\""),
            TokenError::NoRole => Self::forbidden(),
            TokenError::KeysUnavailable => Self::unavailable(RETRY_AFTER),
        }
    }
}

impl From<CredentialError> for Problem {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::Ambiguous => Self::ambiguous_credentials(),
            CredentialError::Malformed => Self::unauthenticated(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_not_believed_gets_the_same_answer_whatever_is_wrong() {
        let expired = Problem::from(TokenError::Invalid("expired"));
        let forged = Problem::from(TokenError::Invalid("the signature does not match"));

        assert_eq!(expired.document(None), forged.document(None));
        assert_eq!(
            (expired.status(), expired.slug()),
            (StatusCode::UNAUTHORIZED, "invalid-token")
        );
    }

    #[test]
    fn each_other_refusal_asks_for_its_own_reaction() {
        let status = |problem: Problem| problem.status().as_u16();

        assert_eq!(status(TokenError::NoRole.into()), 403);
        assert_eq!(status(TokenError::KeysUnavailable.into()), 503);
        assert_eq!(status(CredentialError::Ambiguous.into()), 400);
        assert_eq!(status(CredentialError::Malformed.into()), 401);
    }
}
