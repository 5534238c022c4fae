use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::domain::{VpnNetwork, WireguardKey, WireguardPrivateKey};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::InterfaceName;
use crate::hub::rules::{check, differing, not_applied};
use crate::hub::{Hub, HubError, HubHealth, PeerConfig, PeerStatus};

mod device;
mod table;

#[cfg(test)]
mod tests;

use device::{Change, ControlledDevice, SystemDevice};
pub(crate) use device::{Incarnation, daemon_socket};
use table::Table;

/// Up to so many peers, reading them all costs a few milliseconds and is done with every change.
const SMALL: usize = 1000;

/// How old a reading may be that a change, or a caller on a large hub, relies on.
const FRESH: Duration = Duration::from_secs(1);

/// What the interface gets for an answer, and in addition for each peer of a change: a daemon needs
/// up to 7 s for 60,000.
const DEADLINE: Duration = Duration::from_secs(5);
const DEADLINE_PER_PEER: Duration = Duration::from_micros(500);

/// Who runs the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The kernel's WireGuard: production.
    Kernel,
    /// A daemon in user space, such as `wireguard-go`: where the kernel has none. It refuses the
    /// 65,537th peer and needs some 30 kB for each.
    Userspace,
}

/// A hub on a network interface. It never makes the interface: that is the hub process's business.
///
/// One change happens at a time. Up to a thousand peers each is read back before it is answered for;
/// above, reading everything is worth it at most once a second, and what turns out not to have been
/// applied is logged and left to the reconciler.
pub struct ControlHub {
    device: Arc<dyn ControlledDevice>,
    identity: WireguardKey,
    /// Whoever speaks to the interface holds the lock, even after its caller has given up.
    table: Arc<Mutex<Table>>,
}

impl fmt::Debug for ControlHub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ControlHub")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl ControlHub {
    /// Speaks to an interface, which is right only with this public key.
    pub fn new(interface: &InterfaceName, backend: Backend, identity: WireguardKey) -> Self {
        Self::over(Arc::new(SystemDevice::new(interface, backend)), identity)
    }

    fn over(device: Arc<dyn ControlledDevice>, identity: WireguardKey) -> Self {
        Self {
            device,
            identity,
            table: Arc::default(),
        }
    }

    /// Whether the interface has this hub's key, and this UDP port.
    pub(crate) async fn is_configured(&self, port: u16) -> Result<bool, HubError> {
        self.exclusively(0, move |turn| {
            let reading = turn.device.read().map_err(HubError::unavailable)?;
            let is_ours = reading.public_key.as_ref() == Some(turn.identity.as_bytes());
            Ok(is_ours && reading.listen_port == Some(port))
        })
        .await
    }

    /// Gives the interface its key and UDP port, and no peers: the reconciler adds and calls them.
    pub(crate) async fn configure(&self, key: Arc<WireguardPrivateKey>, port: u16) -> Result<(), HubError> {
        self.exclusively(0, move |turn| {
            turn.table.forget();
            turn.device.configure(&key, port).map_err(HubError::unavailable)?;
            turn.read()
        })
        .await
    }

    /// Calls every peer whose endpoint is known: for an interface that has lost its sessions. A device
    /// that only sends would notice after fifteen seconds.
    pub(crate) async fn call_peers(&self) -> Result<(), HubError> {
        self.exclusively(0, |turn| {
            turn.read()?;
            turn.change(&turn.table.calls())
        })
        .await
    }

    /// Tells the interface from another one of the same name; nothing if there is none.
    pub(crate) fn incarnation(&self) -> Option<Incarnation> {
        self.device.incarnation().ok()
    }

    /// Waits for its turn and then for the interface, both together not longer than the deadline.
    async fn exclusively<T: Send + 'static>(
        &self,
        peers: u32,
        work: impl FnOnce(&mut Turn<'_>) -> Result<T, HubError> + Send + 'static,
    ) -> Result<T, HubError> {
        let (device, table, identity) = (Arc::clone(&self.device), Arc::clone(&self.table), self.identity);
        let answer = async {
            let mut table = table.lock_owned().await;
            let now = Instant::now();
            let turn = move || {
                work(&mut Turn {
                    device: &*device,
                    table: &mut table,
                    identity,
                    now,
                })
            };
            tokio::task::spawn_blocking(turn).await.map_err(HubError::unavailable)?
        };
        timeout(DEADLINE + DEADLINE_PER_PEER * peers, answer)
            .await
            .map_err(HubError::unavailable)?
    }
}

#[async_trait]
impl Hub for ControlHub {
    async fn identity(&self) -> Result<WireguardKey, HubError> {
        self.exclusively(0, |turn| turn.read_if_old().map(|()| turn.identity))
            .await
    }

    async fn ensure_peers(&self, peers: &[PeerConfig]) -> Result<(), HubError> {
        let (count, peers) = (count(peers.len()), peers.to_vec());
        self.exclusively(count, move |turn| turn.ensure(&peers)).await
    }

    async fn remove_peers(&self, keys: &[WireguardKey]) -> Result<(), HubError> {
        let (count, keys) = (count(keys.len()), keys.to_vec());
        self.exclusively(count, move |turn| turn.remove(&keys)).await
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, HubError> {
        self.exclusively(0, |turn| {
            if turn.table.len() > SMALL {
                turn.read_if_old()?;
            } else {
                turn.read()?;
            }
            Ok(turn.table.peers().values().cloned().collect())
        })
        .await
    }

    /// Rules and routes are made by whoever made the interface.
    async fn serve(&self, _network: VpnNetwork) -> Result<(), HubError> {
        Ok(())
    }

    async fn health(&self) -> Result<HubHealth, HubError> {
        self.exclusively(0, |turn| {
            turn.read_if_old()?;
            Ok(HubHealth {
                identity: turn.identity,
                peers: turn.table.len(),
            })
        })
        .await
    }
}

fn count(peers: usize) -> u32 {
    peers.try_into().unwrap_or(u32::MAX)
}

/// One caller's time with the interface.
struct Turn<'a> {
    device: &'a dyn ControlledDevice,
    table: &'a mut Table,
    identity: WireguardKey,
    now: Instant,
}

impl Turn<'_> {
    fn ensure(&mut self, peers: &[PeerConfig]) -> Result<(), HubError> {
        self.read_if_old()?;
        let mut missing = Vec::new();
        // Twice: what was read before may have been changed by somebody else since.
        for _ in 0..2 {
            check(peers, &self.identity, self.table.peers())?;
            missing = differing(peers, self.table.peers());
            let changes = self.table.changes_for(&missing);
            if !changes.is_empty() {
                self.change(&changes)?;
            }
            if self.table.len() > SMALL {
                self.table.believe(&missing);
                return Ok(());
            }
            self.read()?;
            missing = differing(peers, self.table.peers());
            if missing.is_empty() {
                break;
            }
        }
        not_applied(&missing)
    }

    fn remove(&mut self, keys: &[WireguardKey]) -> Result<(), HubError> {
        self.read_if_old()?;
        let changes: Vec<_> = keys.iter().map(|key| Change::Remove { key: *key.as_bytes() }).collect();
        self.change(&changes)?;
        if self.table.len() > SMALL {
            self.table.forget_peers(keys);
            return Ok(());
        }
        self.read()?;
        let left: Vec<_> = keys
            .iter()
            .filter(|key| self.table.peers().get(key).is_some())
            .copied()
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(HubError::NotApplied { keys: left })
        }
    }

    /// Makes sure that what is known is of this interface and fresh.
    fn read_if_old(&mut self) -> Result<(), HubError> {
        let incarnation = self.device.incarnation().map_err(HubError::unavailable)?;
        if self.table.is_of(incarnation, self.now, FRESH) {
            Ok(())
        } else {
            self.read()
        }
    }

    /// Reads everything, and checks that it is the right hub.
    fn read(&mut self) -> Result<(), HubError> {
        self.table.forget();
        let incarnation = self.device.incarnation().map_err(HubError::unavailable)?;
        let reading = self.device.read().map_err(HubError::unavailable)?;
        if self.device.incarnation().map_err(HubError::unavailable)? != incarnation {
            return Err(HubError::unavailable(
                "the interface was replaced while it was being read",
            ));
        }
        let expected = self.identity;
        match reading.public_key.map(WireguardKey::from_bytes) {
            Some(Ok(found)) if found == expected => {}
            Some(Ok(found)) => return Err(HubError::WrongIdentity { expected, found }),
            Some(Err(_)) | None => return Err(HubError::unavailable("the interface has no key")),
        }
        self.table.replace(incarnation, self.now, reading.peers);
        Ok(())
    }

    fn change(&mut self, changes: &[Change]) -> Result<(), HubError> {
        // A change that fails may be half done.
        self.device
            .change(changes)
            .inspect_err(|_| self.table.forget())
            .map_err(HubError::unavailable)
    }
}
