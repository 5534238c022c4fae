//! A small OpenID Connect issuer: a login for the quickstart, and the real half of the tests' issuer.
//!
//! It speaks one flow and that one whole: authorization code with PKCE for public clients, with a login form,
//! refresh tokens that rotate, and logout. Its paths and its access tokens are shaped like Keycloak's, so that
//! what works against it works against a Keycloak realm. Everything is held in memory: a restart signs
//! everyone out.
//!
//! Sources: RFC 6749 (OAuth 2.0), RFC 7636 (PKCE), RFC 7519 (JWT), RFC 9068 (JWT access tokens), RFC 9207
//! (`iss` in the answer), RFC 9700 (OAuth 2.0 security), OpenID Connect Core, Discovery and RP-Initiated
//! Logout 1.0, and the Keycloak server documentation.
#![warn(missing_docs)]

pub mod client;

mod config;
mod guesses;
mod http;
mod issuer;
mod ledger;
mod passwords;
mod random;
mod signing;
mod tokens;

pub use config::{ClientConfig, InvalidIssuerConfig, IssuerConfig, UserConfig};
pub use issuer::Issuer;
