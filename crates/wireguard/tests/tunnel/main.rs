//! A hub and its devices as their users see them, over real UDP on loopback.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod membership;
mod stage;
mod streams;
