//! How the store says that something failed.

use std::error::Error;

use sqlx::error::DatabaseError;

use crate::domain::StoreError;

/// Whether the database says that the transaction was undone only because of another one.
pub(super) fn has_given_way(error: &sqlx::Error) -> bool {
    /// PostgreSQL: serialization failure, deadlock detected. SQLite: `SQLITE_BUSY`, `SQLITE_BUSY_SNAPSHOT`.
    const CODES: [&str; 4] = ["40001", "40P01", "5", "517"];
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| CODES.contains(&code.as_ref()))
}

/// The one error of what was done together.
#[derive(Debug, thiserror::Error)]
#[error("the transaction failed: {0}")]
struct Failed(String);

/// The database made the transaction give way to another one.
#[derive(Debug, thiserror::Error)]
#[error("the transaction gave way to another one")]
pub(super) struct GaveWay;

/// Something stood in the way of changes that were expected to be made.
#[derive(Debug, thiserror::Error)]
#[error("not as many rows were changed as expected")]
pub(super) struct NotPlain;

pub(super) fn failed(reason: &str) -> StoreError {
    unavailable(Failed(reason.to_owned()))
}

/// One error for everybody.
pub(super) fn copy(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { source } => failed(&source.to_string()),
        StoreError::Corrupt { column } => StoreError::Corrupt { column },
    }
}

pub(super) fn unavailable(error: impl Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable {
        source: Box::new(error),
    }
}
