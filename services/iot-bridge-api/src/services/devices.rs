//! The use cases of devices that have a certificate.

use std::sync::Arc;

use common::domain::{Clock, System};
use common::store::Store;

use crate::app::identity::{Identities, IdentityParts};
use crate::app::presence::Presence;
use crate::app::renewal::Renewals;
use crate::app::{Authority, Network};

/// What a device in service may do.
#[derive(Debug)]
pub struct DeviceServices {
    /// Recognises it.
    pub identities: Arc<Identities>,
    /// Renews its certificate.
    pub renewals: Arc<Renewals>,
    /// Keeps it in the network.
    pub presence: Arc<Presence>,
}

impl DeviceServices {
    /// `told_later` are the systems that hold a device's certificate.
    pub(super) fn new(
        store: &Store,
        authority: &Arc<Authority>,
        network: &Arc<Network>,
        clock: &Arc<dyn Clock>,
        told_later: Vec<System>,
    ) -> Self {
        let database = Arc::new(store.clone());
        let identities = Identities::new(IdentityParts {
            directory: database.clone(),
            registry: database.clone(),
            audit: database.clone(),
            clock: Arc::clone(clock),
            told_later,
        });
        let renewals = Renewals::new(
            database.clone(),
            database.clone(),
            database.clone(),
            Arc::clone(authority),
            Arc::clone(clock),
        );
        let presence = Presence::new(
            database.clone(),
            database.clone(),
            database,
            Arc::clone(network),
            Arc::clone(clock),
        );
        Self {
            identities: Arc::new(identities),
            renewals: Arc::new(renewals),
            presence: Arc::new(presence),
        }
    }
}
