//! One file a parser.

pub mod csr;
pub mod est;
pub mod webhook_json;
