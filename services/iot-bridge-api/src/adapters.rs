//! The other systems, by product.

pub mod hawkbit;
pub mod influxdb;
pub mod keycloak;
pub mod step_ca;
pub mod thingsboard;
pub mod wireguard;

mod rest;
