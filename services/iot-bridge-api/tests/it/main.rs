//! The bridge from the outside: requests in, answers out, beside a hub and an authority that can be broken.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod support;

mod authorisation;
mod bad_inputs;
mod canary;
mod churn;
mod configuration;
mod enrollment;
mod est;
mod fleet;
mod health;
mod kill_points;
mod neighbours;
mod network;
mod orders;
mod process;
mod provision;
mod record;
mod renewal;
mod return_ticket;
mod step_ca;
mod sweep;
mod updates;
mod webhook_inputs;
mod webhooks;
