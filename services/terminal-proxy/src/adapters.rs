//! The outside systems behind the ports.

mod embedded;
mod recording_folder;
mod socket;
mod store;

pub use embedded::EmbeddedNetwork;
pub use recording_folder::RecordingFolder;
pub use socket::SocketNetwork;
