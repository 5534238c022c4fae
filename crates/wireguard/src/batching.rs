use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use common::domain::{VpnAddress, VpnNetwork, WireguardKey};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::hub::{Hub, HubError, HubHealth, PeerConfig, PeerStatus};

#[cfg(test)]
mod tests;

/// How many callers may wait; one more waits until it may wait.
const QUEUE: usize = 1024;

/// A hub that does in one go what many callers want at the same time: a thousand devices that enroll
/// together cost one change and one reading, not a thousand.
pub struct BatchingHub {
    hub: Arc<dyn Hub>,
    queue: mpsc::Sender<Order>,
}

/// The one who makes the changes, in the order in which they were asked for.
pub struct BatchWriter {
    hub: Arc<dyn Hub>,
    queue: mpsc::Receiver<Order>,
}

struct Order {
    wish: Wish,
    answer: oneshot::Sender<Result<(), HubError>>,
}

#[derive(Clone)]
enum Wish {
    Ensure(Vec<PeerConfig>),
    Remove(Vec<WireguardKey>),
}

impl BatchingHub {
    /// Stands before a hub; nothing changes unless the writer [runs](BatchWriter::run).
    pub fn new(hub: Arc<dyn Hub>) -> (Self, BatchWriter) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (
            Self {
                hub: Arc::clone(&hub),
                queue: sender,
            },
            BatchWriter { hub, queue: receiver },
        )
    }

    async fn order(&self, wish: Wish) -> Result<(), HubError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Order { wish, answer }).await.map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }
}

fn closed() -> HubError {
    HubError::unavailable("the hub's writer has ended")
}

impl fmt::Debug for BatchingHub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BatchingHub")
    }
}

impl fmt::Debug for BatchWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BatchWriter")
    }
}

#[async_trait]
impl Hub for BatchingHub {
    async fn identity(&self) -> Result<WireguardKey, HubError> {
        self.hub.identity().await
    }

    async fn ensure_peers(&self, peers: &[PeerConfig]) -> Result<(), HubError> {
        self.order(Wish::Ensure(peers.to_vec())).await
    }

    async fn remove_peers(&self, keys: &[WireguardKey]) -> Result<(), HubError> {
        self.order(Wish::Remove(keys.to_vec())).await
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, HubError> {
        self.hub.peers().await
    }

    async fn serve(&self, network: VpnNetwork) -> Result<(), HubError> {
        self.hub.serve(network).await
    }

    async fn health(&self) -> Result<HubHealth, HubError> {
        self.hub.health().await
    }
}

impl BatchWriter {
    /// Makes changes until it is told to stop; what was asked for before is still done.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let first = tokio::select! {
                first = self.queue.recv() => first,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let mut waiting = vec![first];
            while waiting.len() < QUEUE
                && let Ok(next) = self.queue.try_recv()
            {
                waiting.push(next);
            }
            self.fulfil(waiting).await;
        }
    }

    async fn fulfil(&self, orders: Vec<Order>) {
        let mut batch = Batch::default();
        for order in orders {
            if !batch.accepts(&order.wish) {
                self.fulfil_batch(std::mem::take(&mut batch)).await;
            }
            batch.push(order);
        }
        self.fulfil_batch(batch).await;
    }

    async fn fulfil_batch(&self, batch: Batch) {
        let Some(wish) = batch.whole() else { return };
        let result = self.fulfil_wish(&wish).await;
        let single = batch.orders.len() == 1;
        for order in batch.orders {
            let answer = match &result {
                Ok(()) => Ok(()),
                Err(error @ (HubError::Unavailable { .. } | HubError::WrongIdentity { .. })) => Err(error.duplicate()),
                Err(error) if single => Err(error.duplicate()),
                // Somebody's fault; whose it is shows when each gets its own turn.
                Err(_) => self.fulfil_wish(&order.wish).await,
            };
            drop(order.answer.send(answer)); // whoever has gone does not care
        }
    }

    async fn fulfil_wish(&self, wish: &Wish) -> Result<(), HubError> {
        match wish {
            Wish::Ensure(peers) => self.hub.ensure_peers(peers).await,
            Wish::Remove(keys) => self.hub.remove_peers(keys).await,
        }
    }
}

/// Orders that do not contradict each other.
#[derive(Default)]
struct Batch {
    orders: Vec<Order>,
    peers: HashMap<WireguardKey, PeerConfig>,
    addresses: HashSet<VpnAddress>,
    removed: HashSet<WireguardKey>,
}

impl Batch {
    fn accepts(&self, wish: &Wish) -> bool {
        let fits = |peer: &PeerConfig| match self.peers.get(&peer.key) {
            Some(same) => same == peer,
            None => !self.addresses.contains(&peer.address),
        };
        match wish {
            Wish::Ensure(peers) => self.removed.is_empty() && is_plain(peers) && peers.iter().all(fits),
            Wish::Remove(_) => self.peers.is_empty(),
        }
    }

    fn push(&mut self, order: Order) {
        match &order.wish {
            Wish::Ensure(peers) => {
                self.peers.extend(peers.iter().map(|peer| (peer.key, *peer)));
                self.addresses.extend(peers.iter().map(|peer| peer.address));
            }
            Wish::Remove(keys) => self.removed.extend(keys),
        }
        self.orders.push(order);
    }

    /// What all orders together want.
    fn whole(&self) -> Option<Wish> {
        match self.orders.as_slice() {
            [] => None,
            [one] => Some(one.wish.clone()),
            _ if self.removed.is_empty() => Some(Wish::Ensure(self.peers.values().copied().collect())),
            _ => Some(Wish::Remove(self.removed.iter().copied().collect())),
        }
    }
}

/// Whether no key is there twice: such an order has to be refused as it is.
fn is_plain(peers: &[PeerConfig]) -> bool {
    let keys: HashSet<_> = peers.iter().map(|peer| peer.key).collect();
    keys.len() == peers.len()
}
