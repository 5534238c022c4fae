//! Places for sockets: so many in all, and so many for the clients of one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Options;
use crate::chassis::client_address::TrustedProxies;

/// All places of a listener.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    clients: Arc<Clients>,
    open: Gauge,
}

impl Places {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            free: Arc::new(Semaphore::new(options.max_connections)),
            clients: Arc::new(Clients {
                limit: options.max_connections_per_address,
                proxy_limit: options.max_proxy_connections,
                proxies: options.trusted_proxies.clone(),
                taken: Mutex::default(),
            }),
            open: options.open_connections.clone(),
        }
    }

    /// Waits until a place is free, whoever may come.
    pub(super) async fn free(&self) -> OwnedSemaphorePermit {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        permit.expect("nobody closes the semaphore")
    }

    /// Gives a free place to a client, unless its address has too many already.
    pub(super) fn take(&self, permit: OwnedSemaphorePermit, client: IpAddr) -> Option<Place> {
        let client = self.clients.enter(client)?;
        self.open.inc();
        Some(Place {
            _permit: permit,
            _client: client,
            open: self.open.clone(),
        })
    }
}

/// The place of one socket among those that may be open; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    _client: ClientPlace,
    open: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// How many sockets each client has open; as many entries as there are sockets at most.
#[derive(Debug)]
struct Clients {
    limit: usize,
    proxy_limit: usize,
    proxies: TrustedProxies,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

impl Clients {
    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<ClientPlace> {
        let address = address.to_canonical();
        let is_proxy = address.is_loopback() || self.proxies.trusts(address);
        let limit = if is_proxy { self.proxy_limit } else { self.limit };
        let client = network(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(&client).copied().unwrap_or_default();
        if count >= limit {
            return None;
        }
        taken.insert(client, count + 1);
        Some(ClientPlace {
            clients: Arc::clone(self),
            client,
        })
    }

    fn leave(&self, client: IpAddr) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&client);
            }
        }
    }
}

/// One of the places of a client; given back when it is dropped.
#[derive(Debug)]
struct ClientPlace {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        self.clients.leave(self.client);
    }
}

/// One customer usually has a whole IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_places_and_they_come_back() {
        let clients = two_for_each();
        let first = enter(&clients, "203.0.113.9").unwrap();
        let _second = enter(&clients, "203.0.113.9").unwrap();

        assert!(enter(&clients, "203.0.113.9").is_none());
        assert!(enter(&clients, "203.0.113.10").is_some());
        drop(first);
        assert!(enter(&clients, "203.0.113.9").is_some());
    }

    #[test]
    fn one_ipv6_network_is_one_client_and_a_mapped_address_is_the_ipv4_one() {
        let clients = two_for_each();
        let _network = ["2001:db8::1", "2001:db8::ffff"].map(|address| enter(&clients, address).unwrap());
        let _mapped = ["::ffff:203.0.113.9", "203.0.113.9"].map(|address| enter(&clients, address).unwrap());

        assert!(enter(&clients, "2001:db8::2").is_none());
        assert!(enter(&clients, "2001:db8:0:1::2").is_some());
        assert!(enter(&clients, "::ffff:203.0.113.9").is_none());
        assert!(enter(&clients, "::ffff:203.0.113.10").is_some());
    }

    #[test]
    fn loopback_and_trusted_proxies_have_a_limit_of_their_own() {
        let clients = two_for_each();
        let _proxy = ["198.51.100.1"; 3].map(|address| enter(&clients, address).unwrap());
        assert!(enter(&clients, "198.51.100.1").is_none());
        let _three = ["127.0.0.1", "127.0.0.1", "::ffff:127.0.0.1"].map(|address| enter(&clients, address).unwrap());

        assert!(enter(&clients, "127.0.0.1").is_none());
        assert!(enter(&clients, "::1").is_some());
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let clients = two_for_each();

        drop(enter(&clients, "203.0.113.9"));

        assert!(clients.taken.lock().unwrap().is_empty());
    }

    fn two_for_each() -> Arc<Clients> {
        Arc::new(Clients {
            limit: 2,
            proxy_limit: 3,
            proxies: "198.51.100.0/24".parse().unwrap(),
            taken: Mutex::default(),
        })
    }

    fn enter(clients: &Arc<Clients>, address: &str) -> Option<ClientPlace> {
        clients.enter(address.parse().unwrap())
    }
}
