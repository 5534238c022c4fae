//! The service over real sockets: a real database, a real issuer, and a device that the test holds in its hands.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod support;
mod ttyd;

mod device;
mod door;
mod life;
mod pages;
mod sessions;
mod tickets;
