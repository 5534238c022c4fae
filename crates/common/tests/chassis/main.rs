//! What a client sees of every service, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test stops at its first surprise")]

mod device_ids;
mod http_client;
mod http_shape;
mod life;
mod log;
mod support;
mod tls;
