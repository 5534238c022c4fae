//! One file a parser.

pub mod csr;
pub mod est;
pub mod http_head;
pub mod jwks;
pub mod jwt;
pub mod webhook_json;
pub mod ws_frames;
