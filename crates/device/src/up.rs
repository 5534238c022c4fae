//! `iot-device up`: a device in its network until it is told to stop.

use std::error::Error;
use std::time::Duration;

use common::chassis::shutdown::Shutdown;

use crate::agent::Device;
use crate::config::{Config, UpArgs};

/// Sessions end with the agent: their clients are told by the end of their connections.
const DRAIN: Duration = Duration::from_secs(2);

/// Brings the device into its network and keeps it there; a hub that is away is waited for.
pub async fn up(config: &Config, arguments: &UpArgs) -> Result<(), Box<dyn Error + Send + Sync>> {
    let kind = arguments.tunnel()?;
    let shutdown = Shutdown::new();
    shutdown.on_signals()?;
    let drain = shutdown.token();
    let enrolled = Device::prepare(config.state_dir.clone(), None).await?.enrolled()?;
    if let Some(url) = &arguments.url {
        shutdown.spawn(enrolled.keep_fresh(url.clone(), drain.clone()));
        shutdown.spawn(enrolled.keep_agents(arguments.agents(url), drain.clone()));
    }
    let connected = tokio::select! {
        connected = enrolled.bring_up(&kind, arguments.hub_endpoint.as_ref()) => connected?,
        () = drain.cancelled() => return Ok(()),
    };
    shutdown.spawn(connected.stay(arguments.url.clone(), drain.clone()));
    let without_terminal = if arguments.no_terminal {
        Some(connected)
    } else {
        let serving = connected.serve_with(&arguments.beside, arguments.terminal(), &shutdown);
        serving.await?;
        None
    };
    tracing::info!("The tunnel is up");
    drain.cancelled().await;
    shutdown.finish(DRAIN).await;
    drop(without_terminal);
    Ok(())
}
