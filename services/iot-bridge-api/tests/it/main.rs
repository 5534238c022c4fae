//! The bridge from the outside: requests in, answers out, beside a hub and an authority that can be broken.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod support;

mod authorisation;
mod bad_inputs;
mod enrollment;
mod fleet;
mod health;
mod process;
mod step_ca;
