//! The device's side of every contract: identity, enrollment, tunnel and terminal.
//!
//! * [`agent`] puts the steps together; [`agent::Device`] is where to begin.
//! * [`state`] and [`identity`]: the keys, in a directory that survives a power cut.
//! * [`enroll`]: the request to the bridge and the check of its answer.
//! * [`renew`]: the next certificate.
//! * [`agents`]: the files of the programs beside the agent.
//! * [`tunnel`]: WireGuard inside this process, or on an interface.
//! * [`terminal`]: a shell in ttyd's protocol.
//! * [`status`]: what a device knows about itself.
//! * [`up`]: the agent at work.
//! * `relay`: the embedded tunnel for other programs on the device, and their ttyd for the hub.
//! * [`config`]: what the `iot-device` program is told.
#![warn(missing_docs)]

pub mod agent;
pub mod agents;
pub mod config;
pub mod enroll;
pub mod identity;
mod presence;
mod relay;
pub mod renew;
pub mod state;
pub mod status;
pub mod terminal;
pub mod tunnel;
pub mod up;

mod clock;
mod x509;
