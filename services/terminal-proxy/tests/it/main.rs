//! The service over real sockets: a real database, a real issuer, and a device that the test holds in its hands.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test stops at its first surprise"
)]

mod support;
mod ttyd;
mod world;

mod bad_inputs;
mod device;
mod door;
mod ledger;
mod life;
mod log;
mod neighbours;
mod pages;
mod people;
mod recording;
mod renewal;
mod resume;
mod routes;
mod sessions;
mod tickets;
mod watching;
