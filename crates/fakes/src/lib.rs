//! The outside systems as servers on port 0, for tests: they misbehave on demand, and a little by default.
#![warn(missing_docs)]

pub mod issuer;
