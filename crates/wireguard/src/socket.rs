//! A hub in another process, over a Unix socket.
//!
//! A caller connects, writes one question as JSON and closes its half; the hub writes one answer and
//! closes the rest. So there is nothing to keep in step, to resume or to reconnect, an answer that is
//! cut off is no JSON, and two callers never wait for each other.

mod client;
mod protocol;
mod server;

pub use client::SocketHub;
pub use server::{Callers, HubSocket};

/// The longest question, in bytes: some 100,000 peers.
const LONGEST_QUESTION: u64 = 16 << 20;

/// The longest answer, in bytes: some 120,000 peers.
const LONGEST_ANSWER: u64 = 32 << 20;

/// How many calls may run at the same time.
const CALLS_AT_ONCE: usize = 64;
