use std::sync::Arc;

use async_trait::async_trait;
use common::domain::VpnAddress;
use tokio::time::Instant;
use wireguard::EmbeddedHub;

use crate::ports::{DeviceDialer, DeviceStream, DialError};

/// Reaches devices through a hub in this process.
#[derive(Debug, Clone)]
pub struct EmbeddedNetwork(pub Arc<EmbeddedHub>);

#[async_trait]
impl DeviceDialer for EmbeddedNetwork {
    async fn dial(
        &self,
        address: VpnAddress,
        port: u16,
        deadline: Instant,
    ) -> Result<Box<dyn DeviceStream>, DialError> {
        match self.0.dial(address, port, deadline).await {
            Ok(stream) => Ok(Box::new(stream)),
            Err(wireguard::DialError::NoAnswer) => Err(DialError::TimedOut),
            Err(wireguard::DialError::Refused) => Err(DialError::Refused),
            Err(error @ (wireguard::DialError::UnknownAddress | wireguard::DialError::Unavailable)) => {
                Err(DialError::NoWay {
                    source: Box::new(error),
                })
            }
        }
    }
}
