//! The problems that every service knows.

use std::error::Error;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};

use super::{Problem, ProblemType, error_chain};

/// The problems that every service knows; the documentation lists them all.
pub const COMMON: &[ProblemType] = &[
    BAD_REQUEST,
    MALFORMED_JSON,
    AMBIGUOUS_CREDENTIALS,
    AMBIGUOUS_PARAMETER,
    INVALID_DEVICE_ID,
    UNAUTHENTICATED,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    PAYLOAD_TOO_LARGE,
    URI_TOO_LONG,
    UNSUPPORTED_MEDIA_TYPE,
    UNSUPPORTED_ENCODING,
    INVALID_FIELD,
    UPGRADE_REQUIRED,
    RATE_LIMITED,
    INTERNAL,
    UNAVAILABLE,
];

const BAD_REQUEST: ProblemType = ProblemType::new(
    StatusCode::BAD_REQUEST,
    "bad-request",
    "The request is not one that this route understands.",
);
const MALFORMED_JSON: ProblemType = ProblemType::new(
    StatusCode::BAD_REQUEST,
    "malformed-json",
    "The body is not one JSON object in UTF-8 with each name at most once.",
);
const AMBIGUOUS_CREDENTIALS: ProblemType = ProblemType::new(
    StatusCode::BAD_REQUEST,
    "ambiguous-credentials",
    "The request carries more than one credential.",
);
const AMBIGUOUS_PARAMETER: ProblemType = ProblemType::new(
    StatusCode::BAD_REQUEST,
    "ambiguous-parameter",
    "The request names the same parameter more than once.",
);
const INVALID_DEVICE_ID: ProblemType = ProblemType::new(
    StatusCode::BAD_REQUEST,
    "invalid-device-id",
    "A device id is 1 to 63 characters of a-z, 0-9 and '-', and neither starts nor ends with '-'.",
);
const UNAUTHENTICATED: ProblemType = ProblemType::new(
    StatusCode::UNAUTHORIZED,
    "unauthenticated",
    "The credential is missing, wrong, expired or revoked.",
);
const FORBIDDEN: ProblemType = ProblemType::new(
    StatusCode::FORBIDDEN,
    "forbidden",
    "The credential is good, but it does not allow this.",
);
const NOT_FOUND: ProblemType = ProblemType::new(
    StatusCode::NOT_FOUND,
    "not-found",
    "There is nothing here that this credential may see.",
);
const METHOD_NOT_ALLOWED: ProblemType = ProblemType::new(
    StatusCode::METHOD_NOT_ALLOWED,
    "method-not-allowed",
    "This route knows only the methods of the `Allow` header.",
);
const REQUEST_TIMEOUT: ProblemType = ProblemType::new(
    StatusCode::REQUEST_TIMEOUT,
    "request-timeout",
    "The body did not come in time; the service waited for the rest of it.",
);
const PAYLOAD_TOO_LARGE: ProblemType = ProblemType::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "payload-too-large",
    "The body is larger than this service reads.",
);
const URI_TOO_LONG: ProblemType = ProblemType::new(
    StatusCode::URI_TOO_LONG,
    "uri-too-long",
    "The address is longer than this service reads.",
);
const UNSUPPORTED_MEDIA_TYPE: ProblemType = ProblemType::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported-media-type",
    "The body needs the `Content-Type` that this route reads.",
);
const UNSUPPORTED_ENCODING: ProblemType = ProblemType::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "unsupported-encoding",
    "A body is read only without `Content-Encoding`.",
);
const INVALID_FIELD: ProblemType = ProblemType::new(
    StatusCode::UNPROCESSABLE_ENTITY,
    "invalid-field",
    "A field is unknown, missing or of the wrong kind; `field` names it where it can.",
);
const UPGRADE_REQUIRED: ProblemType = ProblemType::new(
    StatusCode::UPGRADE_REQUIRED,
    "upgrade-required",
    "This route speaks WebSocket only.",
);
const RATE_LIMITED: ProblemType = ProblemType::new(
    StatusCode::TOO_MANY_REQUESTS,
    "rate-limited",
    "Too many failed attempts; try again after `Retry-After` seconds.",
);
const INTERNAL: ProblemType = ProblemType::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "The service failed; `instance` finds the reason in its log.",
);
const UNAVAILABLE: ProblemType = ProblemType::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "unavailable",
    "The service cannot do this now; try again after `Retry-After` seconds.",
);

impl Problem {
    /// Returns the problem for a bare status, as the framework and careless code answer it: the first kind
    /// with that status, else 400 for the caller's errors and 500 for ours.
    pub(in crate::chassis) fn of_status(status: StatusCode) -> Self {
        let fallback = if status.is_client_error() {
            &BAD_REQUEST
        } else {
            &INTERNAL
        };
        Self::of(COMMON.iter().find(|kind| kind.status == status).unwrap_or(fallback))
    }

    /// 400: something that has no better name.
    pub fn bad_request() -> Self {
        Self::of(&BAD_REQUEST)
    }

    /// 400: the body is not JSON as RFC 8259 and we want it.
    pub fn malformed_json() -> Self {
        Self::of(&MALFORMED_JSON)
    }

    /// 400: two credentials, and we do not choose.
    pub fn ambiguous_credentials() -> Self {
        Self::of(&AMBIGUOUS_CREDENTIALS)
    }

    /// 400: one parameter twice, and we do not choose.
    pub fn ambiguous_parameter() -> Self {
        Self::of(&AMBIGUOUS_PARAMETER)
    }

    /// 400: not a [`DeviceId`](crate::domain::DeviceId).
    pub fn invalid_device_id() -> Self {
        Self::of(&INVALID_DEVICE_ID)
    }

    /// 401 with the challenge `Bearer`; see [`Problem::with_challenge`] for another.
    pub fn unauthenticated() -> Self {
        Self::of(&UNAUTHENTICATED).with_challenge("Bearer")
    }

    /// 403.
    pub fn forbidden() -> Self {
        Self::of(&FORBIDDEN)
    }

    /// 404: unknown and not allowed to know, in the same bytes.
    pub fn not_found() -> Self {
        Self::of(&NOT_FOUND)
    }

    /// 408: the client keeps its body back; nothing else can follow on its connection.
    pub fn request_timeout() -> Self {
        Self::of(&REQUEST_TIMEOUT).with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// 413.
    pub fn payload_too_large() -> Self {
        Self::of(&PAYLOAD_TOO_LARGE)
    }

    /// 414.
    pub fn uri_too_long() -> Self {
        Self::of(&URI_TOO_LONG)
    }

    /// 415 because of `Content-Type`.
    pub fn unsupported_media_type() -> Self {
        Self::of(&UNSUPPORTED_MEDIA_TYPE)
    }

    /// 415 because of `Content-Encoding`.
    pub fn unsupported_encoding() -> Self {
        Self::of(&UNSUPPORTED_ENCODING)
    }

    /// 422: `field` is the path of the field, when it is known.
    pub fn invalid_field(field: Option<String>) -> Self {
        Self::of(&INVALID_FIELD).with_field(field)
    }

    /// 426.
    pub fn upgrade_required() -> Self {
        Self::of(&UPGRADE_REQUIRED)
    }

    /// 429.
    pub fn rate_limited(retry_after: Duration) -> Self {
        Self::of(&RATE_LIMITED).with_retry_after(retry_after)
    }

    /// 500 with a fixed text; the chain of errors is logged here, once.
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error = error_chain(error), "A request failed");
        Self::internal_logged()
    }

    /// 500 with a fixed text, for a failure that is in the log already.
    pub fn internal_logged() -> Self {
        Self::of(&INTERNAL)
    }

    /// 503: something that we need is away.
    pub fn unavailable(retry_after: Duration) -> Self {
        Self::of(&UNAVAILABLE).with_retry_after(retry_after)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_slug_is_there_once_and_is_written_in_kebab_case() {
        let mut seen = HashSet::new();
        for kind in COMMON {
            assert!(seen.insert(kind.slug), "`{}` is there twice", kind.slug);
            assert!(
                kind.slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
                "{}",
                kind.slug
            );
        }
    }

    #[test]
    fn every_kind_of_the_table_can_be_made() {
        let wait = Duration::from_secs(1);
        let all = [
            Problem::bad_request(),
            Problem::malformed_json(),
            Problem::ambiguous_credentials(),
            Problem::ambiguous_parameter(),
            Problem::invalid_device_id(),
            Problem::unauthenticated(),
            Problem::forbidden(),
            Problem::not_found(),
            Problem::of_status(StatusCode::METHOD_NOT_ALLOWED),
            Problem::request_timeout(),
            Problem::payload_too_large(),
            Problem::uri_too_long(),
            Problem::unsupported_media_type(),
            Problem::unsupported_encoding(),
            Problem::invalid_field(None),
            Problem::upgrade_required(),
            Problem::rate_limited(wait),
            Problem::internal_logged(),
            Problem::unavailable(wait),
        ];
        assert_eq!(all.len(), COMMON.len());
        for problem in all {
            let kind = COMMON.iter().find(|kind| kind.slug == problem.slug()).unwrap();
            assert_eq!(kind.status, problem.status(), "{}", kind.slug);
        }
    }
}
