//! The bridge: gives devices their identity and their place in the network, and takes both away.
//!
//! [`Services`] is the whole program without its process: `main.rs` builds it from the environment, quickstart and
//! the tests from parts of their own. The flow is `http` → `app` → `ports`, implemented by `adapters` and
//! [`common::store`].

pub mod adapters;
pub mod app;
pub mod config;
pub mod http;
pub mod kill_points;
pub mod ports;

mod services;

pub use services::{Bridge, DeviceServices, Doors, NeighbourParts, Parts, Services, Settings};
