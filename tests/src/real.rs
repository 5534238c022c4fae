//! The real servers: how each is started, and spoken to beside what our services do.

pub(crate) mod bridge;
pub(crate) mod clients;
pub(crate) mod hawkbit;
pub(crate) mod keycloak;
pub(crate) mod postgres;
pub(crate) mod step_ca;
pub(crate) mod ttyd;
pub(crate) mod updater;

pub(crate) mod process;
mod secret;

pub(crate) use self::secret::random_password;
