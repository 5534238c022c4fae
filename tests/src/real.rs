//! The real servers: how each is started, and spoken to beside what our services do.

pub(crate) mod keycloak;

mod process;
mod secret;

pub(crate) use self::secret::random_password;
