//! The outside systems behind the ports.

mod embedded;
mod socket;
mod store;

pub use embedded::EmbeddedNetwork;
pub use socket::SocketNetwork;
