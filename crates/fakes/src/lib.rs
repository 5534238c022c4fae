//! The outside systems as servers on port 0, for tests: they misbehave on demand, and a little by default.
#![warn(missing_docs)]

pub mod fleet;
pub mod hawkbit;
pub mod influxdb;
pub mod issuer;
pub mod mischief;
pub mod thingsboard;

mod serving;
