//! How a scenario says that something is not as it should be.

use std::error::Error;
use std::fmt::{self, Display};

use common::chassis::problem::error_chain;

/// Why a scenario failed, in one line for whoever reads it. It is no error itself, so that every error becomes
/// one with `?`.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// Says what is wrong.
    pub(crate) fn new(what: impl Display) -> Self {
        Self(what.to_string())
    }

    /// Says in which step it went wrong.
    pub(crate) fn during(self, step: &str) -> Self {
        Self(format!("{step}: {}", self.0))
    }
}

impl Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error_chain(&error))
    }
}

/// Fails unless something holds.
pub(crate) fn ensure(holds: bool, otherwise: impl Display) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(otherwise)) }
}
