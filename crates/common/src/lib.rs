//! The common crate of both services: three rooms and no fourth.
//!
//! * [`domain`]: the words and rules of the trade, without I/O, and the storage ports.
//! * [`store`]: the only SQL of the project, for SQLite and PostgreSQL.
//! * [`chassis`]: what every service carries and none is about.
#![warn(missing_docs)]

pub mod chassis;
pub mod domain;
pub mod store;
