//! Which adapter stands behind which port in production.

use std::error::Error;
use std::sync::Arc;

use common::chassis::http_client::{self, HttpClientOptions};
use common::chassis::shutdown::Shutdown;
use common::chassis::token::{JwksCache, TokenVerifier};
use common::domain::Clock;
use common::store::Migrations;
use iot_bridge_api::adapters::step_ca::StepCa;
use iot_bridge_api::adapters::wireguard::WireguardHub;
use iot_bridge_api::config::Config;
use iot_bridge_api::{Parts, Services};

use crate::commands::open_store;
use crate::hub;

/// Puts the service together from its settings.
pub(crate) async fn compose(
    config: &Config,
    clock: Arc<dyn Clock>,
    shutdown: &Shutdown,
) -> Result<Services, Box<dyn Error>> {
    let settings = config.settings()?;
    let network = settings.network.clone();
    let hub = hub::connect(&config.network, network.clone(), clock.clone(), shutdown).await?;
    let http = http_client::build(&HttpClientOptions::default())?;
    let keys = Arc::new(JwksCache::new(config.issuer.keys(), http, clock.clone()));
    shutdown.spawn(Arc::clone(&keys).refresh_task(shutdown.token()));
    Ok(Services::new(Parts {
        store: open_store(config, Migrations::Run, clock.clone()).await?,
        certificate_authority: Arc::new(StepCa::new(config.step_ca.options()?, clock.clone())),
        vpn: Arc::new(WireguardHub::new(hub, network)),
        neighbours: config.neighbours.parts()?,
        access_tokens: Arc::new(TokenVerifier::new(config.issuer.rules()?, keys, clock.clone())?),
        clock,
        settings,
    }))
}
