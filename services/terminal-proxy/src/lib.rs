//! Lets the people of a fleet open a shell on its devices, and nobody else.
//!
//! [`TerminalProxy`] is the whole program without its process: `main.rs` builds it from the environment,
//! quickstart and the tests from parts of their own. Read it in this order: [`http`] has every route,
//! [`terminals`] the order of steps that opens a terminal, [`access`] the one decision who may, [`session`]
//! when it has to end, [`relay`] the bytes in between.

pub mod adapters;
pub mod config;
pub mod ports;
pub mod wire;

mod access;
mod addresses;
mod assets;
mod doctor;
mod http;
mod mailbox;
mod neighbours;
mod origin;
mod proxy;
mod recording;
mod relay;
mod session;
mod tap;
mod terminals;
mod upstream;
mod watching;
mod websocket_key;

pub use config::Limits;
pub use http::PROBLEMS;
pub use neighbours::Peers;
pub use origin::{InvalidOrigin, WebOrigin, WebOrigins};
pub use proxy::{Parts, Settings, TerminalProxy};
pub use recording::{InvalidRecordingRules, RecordingPolicy, RecordingRules, check_recordings};
pub use upstream::TtydSettings;
