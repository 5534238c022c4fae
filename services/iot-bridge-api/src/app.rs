//! The use cases: the order of steps, the rules, the typed errors. No HTTP, no SQL, no product.

pub mod certificate;
pub mod csr;
pub mod enrollment;
pub mod identity;
pub mod presence;
mod refusals;
pub mod renewal;
pub mod token_secret;

pub mod addressing;
pub mod decommission;
pub mod fleet;
pub mod tokens;

pub mod configuration;
pub mod events;
pub mod metrics;
pub mod neighbours;
pub mod seal;
pub mod sweep;
pub mod updates;
pub mod webhook_secret;

pub mod backlog;
pub mod blocked_keys;
pub mod breaker;
pub mod jobs;
pub mod observe;
pub mod reconcile;

pub mod alignment;
mod authority;
mod network;
mod turns;

pub use authority::Authority;
pub use network::{Network, Place};
