//! What every service carries and none is about: how a process starts, answers, is watched and ends.

pub mod client_address;
pub mod config;
pub mod health;
pub mod http_client;
pub mod json;
pub mod layers;
pub mod metrics;
pub mod openapi;
pub mod path;
pub mod problem;
pub mod query;
pub mod rate_limit;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod token;
