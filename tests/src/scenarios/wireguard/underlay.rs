use std::sync::Arc;

use super::namespace::{Namespace, run};
use crate::failure::Failure;

/// The first three bytes of every address below the tunnel (TEST-NET-1), and two of the addresses.
const PREFIX: &str = "192.0.2";
pub(in crate::scenarios) const HUB: &str = "192.0.2.1";
pub(in crate::scenarios) const OUTSIDER: &str = "192.0.2.99";

/// The network below the tunnel: everybody on one switch.
#[derive(Debug)]
pub(in crate::scenarios) struct Underlay {
    switch: Namespace,
}

impl Underlay {
    pub(in crate::scenarios) async fn new(name: &str) -> Result<Self, Failure> {
        let switch = Namespace::new(name).await?;
        switch.run("ip", &["link", "add", "switch", "type", "bridge"]).await?;
        switch.run("ip", &["link", "set", "switch", "up"]).await?;
        Ok(Self { switch })
    }

    /// Makes a namespace with a cable to the switch.
    pub(in crate::scenarios) async fn attach(&self, name: &str, host: u8) -> Result<Arc<Namespace>, Failure> {
        let namespace = Namespace::new(name).await?;
        let switch = self.switch.name();
        let cable = [
            "link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", name, "netns", switch,
        ];
        run("ip", &cable).await?;
        self.switch
            .run("ip", &["link", "set", name, "master", "switch", "up"])
            .await?;
        namespace
            .run("ip", &["address", "add", &format!("{PREFIX}.{host}/24"), "dev", "eth0"])
            .await?;
        namespace.run("ip", &["link", "set", "eth0", "up"]).await?;
        Ok(Arc::new(namespace))
    }
}
