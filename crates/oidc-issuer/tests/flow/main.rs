//! The issuer over real HTTP, as browsers, services and attackers meet it.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod authorize;
mod grants;
mod keys;
mod world;
