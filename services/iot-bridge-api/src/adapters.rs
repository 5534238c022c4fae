//! The other systems, by product.

pub mod step_ca;
pub mod wireguard;
