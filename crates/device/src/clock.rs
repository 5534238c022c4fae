//! The time on a device without a battery for its clock: never before the agent was built, nor before the last time
//! that the bridge told.

use common::domain::{Clock, SystemClock, Timestamp};
use time::format_description::well_known::Rfc3339;

use crate::state::{StateDirectory, StateError};

/// When the agent was built, in Unix seconds.
const BUILT_AT: &str = env!("BUILT_AT");

/// Where the last time is kept that the bridge told.
const FILE: &str = "server-time";

/// Returns a time that is over: certificates are not checked at an earlier one.
pub(crate) fn built_at() -> Timestamp {
    let seconds = BUILT_AT.parse().unwrap_or(0);
    Timestamp::from_unix_timestamp(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Keeps the time that the bridge told over a proven connection. Blocks on the disk.
pub(crate) fn remember(state: &StateDirectory, told: Timestamp) -> Result<(), StateError> {
    if told <= last_told(state)? {
        return Ok(());
    }
    match told.format(&Rfc3339) {
        Ok(text) => state.write(FILE, &text),
        Err(_unwritable) => Ok(()), // a time without a four-digit year is none that counts
    }
}

/// Returns the last time that the bridge told; a damaged file says nothing. Blocks on the disk.
pub(crate) fn last_told(state: &StateDirectory) -> Result<Timestamp, StateError> {
    let text = state.read(FILE)?.unwrap_or_default();
    Ok(Timestamp::parse(text.trim(), &Rfc3339).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Returns the latest time that is known to be over. Blocks on the disk.
pub(crate) fn floor(state: &StateDirectory) -> Result<Timestamp, StateError> {
    Ok(last_told(state)?.max(built_at()))
}

/// Returns what time it is, as far as the device can know. Blocks on the disk.
pub(crate) fn now(state: &StateDirectory) -> Result<Timestamp, StateError> {
    Ok(floor(state)?.max(SystemClock.now()))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::state::testing::temporary;

    #[test]
    fn the_time_never_goes_back_behind_what_is_known() {
        let (_directory, state) = temporary();
        let future = datetime!(2050-01-01 0:00 UTC);

        assert!(now(&state).unwrap() >= built_at());
        remember(&state, future).unwrap();
        remember(&state, datetime!(2040-01-01 0:00 UTC)).unwrap();

        assert_eq!(now(&state).unwrap(), future);
        state.write(FILE, "garbage").unwrap();
        assert!(now(&state).unwrap() < future);
    }

    #[test]
    fn the_agent_knows_when_it_was_built() {
        assert!(built_at() > datetime!(2025-01-01 0:00 UTC));
    }
}
