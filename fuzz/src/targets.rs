//! One file a parser.

pub mod csr;
pub mod est;
