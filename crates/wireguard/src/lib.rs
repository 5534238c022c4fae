//! The device network: who may be in it, and how to reach one of its devices.
//!
//! * [`Hub`] is the port of the network's centre. Enrollment and the reconciler tell it which peers
//!   there are and ask what it has; they do not care whether it is the kernel or this process.
//! * [`EmbeddedHub`] is a hub inside this process, without root, interface or firewall: WireGuard by
//!   gotatun, TCP by smoltcp. It also [dials](EmbeddedHub::dial) devices.
//! * [`DeviceTunnel`] is the same for the device's side: a simulated device, or a real one that may
//!   not make an interface.
//! * [`quick`] writes and reads the configuration file that a device gets.
//!
//! # Isolation of the embedded hub
//!
//! A hub must never carry a packet from one device to another. This one cannot: it takes a decrypted
//! packet only if it is addressed to the hub itself, it has no route back into the tunnel, and
//! nothing in it listens, so a device's packet ends at the hub, answered at most by a TCP reset.
//! Connections are opened in one direction only, by [`EmbeddedHub::dial`].
#![warn(missing_docs)]

mod hub;

mod batching;
#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "control")]
mod control;
mod device_tunnel;
mod embedded;

#[cfg(feature = "control")]
pub mod hub_process;
#[cfg(feature = "control")]
pub mod interface;
mod interface_name;
mod key_file;
pub mod quick;

mod socket;
mod stack;
mod tunnel;
mod udp;

#[cfg(test)]
mod isolation;

pub use batching::{BatchWriter, BatchingHub};
#[cfg(feature = "control")]
pub use control::{Backend, ControlHub};
pub use device_tunnel::{DeviceTunnel, TunnelConfig};
pub use embedded::{DialError, EmbeddedHub, HubConfig};
pub use hub::{Hub, HubError, HubHealth, PeerConfig, PeerFault, PeerStatus};
pub use interface_name::{InterfaceName, InvalidInterfaceName};
pub use key_file::{KeyFileError, private_key};
pub use socket::{Callers, HubSocket, SocketHub};
pub use stack::{TunnelListener, TunnelStream};
pub use tunnel::TunnelError;

/// Largest IP packet in the tunnel, in bytes: 1500 of Ethernet, less the 80 that WireGuard needs over
/// IPv6 (40 IPv6, 8 UDP, 32 WireGuard).
pub const MTU: u16 = 1420;

/// How often a device sends something so that the NAT in front of it keeps its mapping, in seconds
/// (WireGuard's recommendation).
pub const KEEPALIVE_SECONDS: u16 = 25;
