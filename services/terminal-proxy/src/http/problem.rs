//! The one table from errors to HTTP. The problems that every service knows are in `common::chassis::problem`.

use std::time::Duration;

use common::chassis::client_address::ClientAddress;
use common::chassis::problem::{Problem, ProblemType, error_chain};
use common::chassis::rate_limit::FailureLimiter;
use common::chassis::token::{INVALID_TOKEN, TokenError};
use common::domain::{RegistryError, StoreError};
use http::StatusCode;
use tracing::{error, info, warn};

use crate::access::AccessError;
use crate::ports::DialError;
use crate::session::{BeginError, NoSeat, RenewError};
use crate::terminals::OpenError;
use crate::upstream::UpstreamError;
use crate::watching::WatchError;

/// When to try again while the database is away or the process is full.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// When another process has taken over, or this one is back.
const RETRY_AFTER_DRAIN: Duration = Duration::from_secs(2);

/// The problems that only this service knows; the documentation lists them all.
pub const PROBLEMS: &[ProblemType] = &[
    ORIGIN_NOT_ALLOWED,
    MISDIRECTED_REQUEST,
    INVALID_TICKET,
    TOO_MANY_SESSIONS,
    DEVICE_BUSY,
    AT_CAPACITY,
    DRAINING,
    AUDIT_UNAVAILABLE,
    RECORDING_UNAVAILABLE,
    DEVICE_ADDRESS_INVALID,
    DEVICE_UNREACHABLE,
    DEVICE_TIMEOUT,
    DEVICE_BAD_ANSWER,
    SESSION_ELSEWHERE,
    TOO_MANY_WATCHERS,
    NO_RECORDING,
];

/// A shorthand that keeps one kind on three lines.
const fn kind(status: StatusCode, slug: &'static str, meaning: &'static str) -> ProblemType {
    ProblemType { slug, status, meaning }
}

const ORIGIN_NOT_ALLOWED: ProblemType = kind(
    StatusCode::FORBIDDEN,
    "origin-not-allowed",
    "The page that asks is not one of this service's pages.",
);
const MISDIRECTED_REQUEST: ProblemType = kind(
    StatusCode::MISDIRECTED_REQUEST,
    "misdirected-request",
    "This service is not known by the name in `Host`.",
);
const INVALID_TICKET: ProblemType = kind(
    StatusCode::UNAUTHORIZED,
    "invalid-ticket",
    "The ticket is unknown, used, too old, or for another device or page; ask for a new one.",
);
const TOO_MANY_SESSIONS: ProblemType = kind(
    StatusCode::TOO_MANY_REQUESTS,
    "too-many-sessions",
    "You have as many open terminals as one person may have.",
);
const DEVICE_BUSY: ProblemType = kind(
    StatusCode::CONFLICT,
    "device-busy",
    "The device has as many open terminals as one device may have.",
);
const AT_CAPACITY: ProblemType = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "at-capacity",
    "The service has as many open terminals as it may have.",
);
const DRAINING: ProblemType = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "draining",
    "The service is about to restart; try again after `Retry-After` seconds.",
);
const AUDIT_UNAVAILABLE: ProblemType = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "audit-unavailable",
    "The session cannot be recorded now, and without a record there is none.",
);
const RECORDING_UNAVAILABLE: ProblemType = kind(
    StatusCode::SERVICE_UNAVAILABLE,
    "recording-unavailable",
    "Sessions on this device have to be recorded, and recordings cannot be written or read now.",
);
const DEVICE_ADDRESS_INVALID: ProblemType = kind(
    StatusCode::BAD_GATEWAY,
    "device-address-invalid",
    "The device's address on record is not one of the device network; an administrator has to look at it.",
);
const DEVICE_UNREACHABLE: ProblemType = kind(
    StatusCode::BAD_GATEWAY,
    "device-unreachable",
    "The device's network can be reached, its terminal cannot.",
);
const DEVICE_TIMEOUT: ProblemType = kind(
    StatusCode::GATEWAY_TIMEOUT,
    "device-timeout",
    "The device did not answer in time; it has no power or no network, or its tunnel is down.",
);
const DEVICE_BAD_ANSWER: ProblemType = kind(
    StatusCode::BAD_GATEWAY,
    "device-bad-answer",
    "Something other than a willing ttyd answers on the device's terminal port.",
);

const SESSION_ELSEWHERE: ProblemType = kind(
    StatusCode::CONFLICT,
    "session-elsewhere",
    "Another process of this service serves the session, and cannot be reached from this one.",
);

const TOO_MANY_WATCHERS: ProblemType = kind(
    StatusCode::CONFLICT,
    "too-many-watchers",
    "The session has as many watchers as one session may have.",
);
const NO_RECORDING: ProblemType = kind(
    StatusCode::NOT_FOUND,
    "no-recording",
    "The session was not recorded by this process, or the time of its recording is over.",
);

/// No credential at all.
pub(super) fn no_token() -> Problem {
    Problem::of(&INVALID_TOKEN).with_challenge("Bearer")
}

pub(super) fn origin_not_allowed() -> Problem {
    Problem::of(&ORIGIN_NOT_ALLOWED)
}

pub(super) fn misdirected_request() -> Problem {
    Problem::of(&MISDIRECTED_REQUEST)
}

/// A token that is not believed counts against its sender.
pub(super) fn token_problem(error: TokenError, failures: &FailureLimiter, client: ClientAddress) -> Problem {
    let problem = Problem::from(error);
    match error {
        TokenError::Invalid(_) => failures.refusal(client, problem),
        TokenError::NoRole | TokenError::KeysUnavailable => problem,
    }
}

pub(super) fn access_problem(error: AccessError, failures: &FailureLimiter, client: ClientAddress) -> Problem {
    match error {
        AccessError::Token(error) => token_problem(error, failures, client),
        AccessError::InvalidTicket => failures.refusal(client, Problem::of(&INVALID_TICKET).with_challenge("Bearer")),
        AccessError::NoRole => Problem::forbidden(),
        AccessError::NotFound => Problem::not_found(),
        AccessError::Store(error) => store_problem(&error),
    }
}

pub(super) fn open_problem(error: OpenError, failures: &FailureLimiter, client: ClientAddress) -> Problem {
    match error {
        OpenError::Access(error) => access_problem(error, failures, client),
        OpenError::InvalidAddress => {
            error!("A device's address on record is outside the device network: somebody changed it");
            Problem::of(&DEVICE_ADDRESS_INVALID)
        }
        OpenError::Begin(BeginError::NoSeat(error)) => no_seat_problem(error),
        OpenError::Begin(BeginError::DeviceGone) => Problem::not_found(),
        OpenError::Begin(BeginError::NotOnRecord(error)) => {
            error!(
                error = error_chain(&error),
                "A session was refused because it cannot be put on record"
            );
            Problem::of(&AUDIT_UNAVAILABLE).with_retry_after(RETRY_AFTER)
        }
        OpenError::Begin(BeginError::NotRecorded(error)) => {
            error!(%error, "A session was refused because its recording cannot be written");
            Problem::of(&RECORDING_UNAVAILABLE).with_retry_after(RETRY_AFTER)
        }
        OpenError::Upstream(error) => upstream_problem(&error),
    }
}

pub(super) fn renew_problem(error: RenewError, failures: &FailureLimiter, client: ClientAddress) -> Problem {
    match error {
        RenewError::Unknown => Problem::not_found(),
        RenewError::Elsewhere => Problem::of(&SESSION_ELSEWHERE),
        RenewError::Access(error) => access_problem(error, failures, client),
        RenewError::Store(error) => store_problem(&error),
    }
}

pub(super) fn watch_problem(error: WatchError, failures: &FailureLimiter, client: ClientAddress) -> Problem {
    match error {
        WatchError::Access(error) => access_problem(error, failures, client),
        WatchError::Elsewhere => Problem::of(&SESSION_ELSEWHERE),
        WatchError::Full => Problem::of(&TOO_MANY_WATCHERS),
        WatchError::NotOnRecord(error) => {
            error!(
                error = error_chain(&error),
                "A watcher was refused because it cannot be put on record"
            );
            Problem::of(&AUDIT_UNAVAILABLE).with_retry_after(RETRY_AFTER)
        }
    }
}

pub(super) fn no_recording() -> Problem {
    Problem::of(&NO_RECORDING)
}

pub(super) fn recording_problem(error: &std::io::Error) -> Problem {
    error!(%error, "A recording cannot be read");
    Problem::of(&RECORDING_UNAVAILABLE).with_retry_after(RETRY_AFTER)
}

fn no_seat_problem(error: NoSeat) -> Problem {
    match error {
        NoSeat::TooManySessions => Problem::of(&TOO_MANY_SESSIONS).with_retry_after(RETRY_AFTER),
        NoSeat::DeviceBusy => Problem::of(&DEVICE_BUSY),
        NoSeat::AtCapacity => Problem::of(&AT_CAPACITY).with_retry_after(RETRY_AFTER),
        NoSeat::Draining => Problem::of(&DRAINING).with_retry_after(RETRY_AFTER_DRAIN),
        NoSeat::DirectoryLost => Problem::unavailable(RETRY_AFTER),
    }
}

fn upstream_problem(error: &UpstreamError) -> Problem {
    info!(error = error_chain(error), "A device's terminal cannot be opened");
    match error {
        UpstreamError::Dial(DialError::TimedOut) => Problem::of(&DEVICE_TIMEOUT),
        UpstreamError::Dial(DialError::Refused) => Problem::of(&DEVICE_UNREACHABLE)
            .with_detail("The device is there, but nothing listens on its terminal port; is ttyd running?"),
        UpstreamError::Dial(DialError::NoWay { .. }) => {
            Problem::of(&DEVICE_UNREACHABLE).with_detail("There is no way to the device through the device network.")
        }
        UpstreamError::BadAnswer(_) => Problem::of(&DEVICE_BAD_ANSWER),
    }
}

pub(super) fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Unavailable { .. } => {
            warn!(error = error_chain(error), "The database is away");
            Problem::unavailable(RETRY_AFTER)
        }
        StoreError::Corrupt { .. } => {
            error!(error = error_chain(error), "The database holds something impossible");
            Problem::internal_logged()
        }
    }
}

pub(super) fn registry_problem(error: &RegistryError) -> Problem {
    match error {
        RegistryError::Unknown | RegistryError::WrongState(_) => Problem::not_found(),
        RegistryError::Store(error) => store_problem(error),
    }
}
