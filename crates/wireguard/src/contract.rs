//! What every [`Hub`] promises, as a suite that any of them can be held against: in process, behind a
//! socket, on a daemon's interface, on the kernel's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use common::domain::{VpnAddress, VpnNetwork, WireguardKey, WireguardPrivateKey};
use futures_util::future::join_all;
use ipnet::IpNet;

use crate::hub::{Hub, HubError, PeerConfig, PeerFault, hosts};

/// More than what a hub reads back with every change.
const MANY: usize = 1500;

/// How many callers come at the same time.
const AT_ONCE: usize = 50;

/// A promise that a hub does not keep, and what it did instead.
#[derive(Debug, thiserror::Error)]
#[error("{promise}: {instead}")]
pub struct BrokenPromise {
    promise: &'static str,
    instead: String,
}

/// Holds a hub without peers against every promise; `network` has room for 2,000 devices.
///
/// Returns how many promises there are.
pub async fn keeps_its_promises(hub: &dyn Hub, network: VpnNetwork) -> Result<usize, BrokenPromise> {
    let trial = Trial { hub, network };
    let mut kept = 0;
    macro_rules! try_each {
        ($($promise:ident),* $(,)?) => {
            $(
                trial.clear().await?;
                let result = trial.$promise().await;
                result.map_err(|instead| BrokenPromise { promise: stringify!($promise), instead })?;
                kept += 1;
            )*
        };
    }
    try_each!(
        a_hub_always_tells_the_same_key,
        peers_are_live_with_their_address_only,
        ensuring_peers_again_changes_nothing,
        a_peer_that_moves_gives_its_address_free,
        two_peers_may_exchange_their_addresses,
        removing_a_peer_leaves_the_others,
        the_hubs_own_key_is_refused,
        a_key_or_address_twice_in_a_batch_is_refused,
        an_address_that_somebody_has_is_refused,
        a_new_peer_is_expected_where_it_was_last_seen,
        many_peers_come_and_go_together,
        callers_at_the_same_time_do_not_disturb_each_other,
    );
    trial.clear().await?;
    Ok(kept)
}

struct Trial<'a> {
    hub: &'a dyn Hub,
    network: VpnNetwork,
}

type Verdict = Result<(), String>;

impl Trial<'_> {
    async fn a_hub_always_tells_the_same_key(&self) -> Verdict {
        let key = self.hub.identity().await.map_err(words)?;
        self.hub.ensure_peers(&self.some_peers(3)).await.map_err(words)?;

        let health = self.hub.health().await.map_err(words)?;

        same(self.hub.identity().await.map_err(words)?, key)?;
        same((health.identity, health.peers), (key, 3))
    }

    async fn peers_are_live_with_their_address_only(&self) -> Verdict {
        let peers = self.some_peers(3);

        self.hub.ensure_peers(&peers).await.map_err(words)?;

        self.has(&peers).await
    }

    async fn ensuring_peers_again_changes_nothing(&self) -> Verdict {
        let peers = self.some_peers(3);
        self.hub.ensure_peers(&peers).await.map_err(words)?;

        self.hub.ensure_peers(&peers[..2]).await.map_err(words)?;
        self.hub.ensure_peers(&[]).await.map_err(words)?;

        self.has(&peers).await
    }

    async fn a_peer_that_moves_gives_its_address_free(&self) -> Verdict {
        let [mut moving, staying, mut newcomer] = self.three_peers();
        self.hub.ensure_peers(&[moving, staying]).await.map_err(words)?;
        newcomer.address = moving.address;
        moving.address = self.address(9);

        self.hub.ensure_peers(&[moving]).await.map_err(words)?;
        self.hub.ensure_peers(&[newcomer]).await.map_err(words)?;

        self.has(&[moving, staying, newcomer]).await
    }

    async fn two_peers_may_exchange_their_addresses(&self) -> Verdict {
        let [mut one, mut other, bystander] = self.three_peers();
        self.hub.ensure_peers(&[one, other, bystander]).await.map_err(words)?;
        (one.address, other.address) = (other.address, one.address);

        self.hub.ensure_peers(&[one, other]).await.map_err(words)?;

        self.has(&[one, other, bystander]).await
    }

    async fn removing_a_peer_leaves_the_others(&self) -> Verdict {
        let [removed, left, unknown] = self.three_peers();
        self.hub.ensure_peers(&[removed, left]).await.map_err(words)?;

        self.hub.remove_peers(&[removed.key]).await.map_err(words)?;
        self.hub
            .remove_peers(&[removed.key, unknown.key])
            .await
            .map_err(words)?;

        self.has(&[left]).await
    }

    async fn the_hubs_own_key_is_refused(&self) -> Verdict {
        let key = self.hub.identity().await.map_err(words)?;
        let [present, good, bad] = self.three_peers();
        self.hub.ensure_peers(&[present]).await.map_err(words)?;

        let result = self.hub.ensure_peers(&[good, PeerConfig { key, ..bad }]).await;

        refused(result, key, PeerFault::OwnKey)?;
        self.has(&[present]).await
    }

    async fn a_key_or_address_twice_in_a_batch_is_refused(&self) -> Verdict {
        let [one, other, third] = self.three_peers();
        let same_key = [one, PeerConfig { key: one.key, ..other }];
        let same_address = [
            other,
            PeerConfig {
                address: other.address,
                ..third
            },
        ];

        let repeated_key = self.hub.ensure_peers(&same_key).await;
        let repeated_address = self.hub.ensure_peers(&same_address).await;

        refused(repeated_key, one.key, PeerFault::RepeatedKey)?;
        refused(repeated_address, third.key, PeerFault::RepeatedAddress)?;
        self.has(&[]).await
    }

    async fn an_address_that_somebody_has_is_refused(&self) -> Verdict {
        let [present, good, bad] = self.three_peers();
        self.hub.ensure_peers(&[present]).await.map_err(words)?;

        let thief = PeerConfig {
            address: present.address,
            ..bad
        };
        let result = self.hub.ensure_peers(&[good, thief]).await;

        let Err(HubError::AddressTaken { address, holder }) = result else {
            return Err(format!("{result:?}"));
        };
        same((address, holder), (present.address, present.key))?;
        self.has(&[present]).await
    }

    async fn a_new_peer_is_expected_where_it_was_last_seen(&self) -> Verdict {
        // TEST-NET-1: nobody is there.
        let endpoint = "192.0.2.7:51820".parse().ok();
        let [peer, ..] = self.three_peers();
        let peer = peer.last_seen_at(endpoint);

        self.hub.ensure_peers(&[peer]).await.map_err(words)?;

        let peers = self.hub.peers().await.map_err(words)?;
        same(peers.iter().map(|status| status.endpoint).collect(), vec![endpoint])?;
        self.has(&[peer]).await
    }

    async fn many_peers_come_and_go_together(&self) -> Verdict {
        let peers = self.some_peers(MANY);
        let (going, staying) = peers.split_at(MANY - 1);

        self.hub.ensure_peers(&peers).await.map_err(words)?;
        self.has(&peers).await?;
        let keys: Vec<_> = going.iter().map(|peer| peer.key).collect();
        self.hub.remove_peers(&keys).await.map_err(words)?;

        self.has(staying).await
    }

    async fn callers_at_the_same_time_do_not_disturb_each_other(&self) -> Verdict {
        let peers = self.some_peers(AT_ONCE);
        let [held, ..] = self.three_peers();
        let held = PeerConfig {
            address: self.address(AT_ONCE),
            ..held
        };
        self.hub.ensure_peers(&[held]).await.map_err(words)?;
        let thief = PeerConfig {
            key: peers[0].key,
            address: held.address,
            endpoint: None,
        };

        let mut calls: Vec<_> = peers[1..]
            .iter()
            .map(|peer| self.hub.ensure_peers(std::slice::from_ref(peer)))
            .collect();
        calls.push(self.hub.ensure_peers(std::slice::from_ref(&thief)));
        let mut results = join_all(calls).await;

        let refused = results.pop();
        if !matches!(refused, Some(Err(HubError::AddressTaken { .. }))) {
            return Err(format!("{refused:?}"));
        }
        results.into_iter().collect::<Result<(), _>>().map_err(words)?;
        let live: Vec<_> = peers[1..].iter().copied().chain([held]).collect();
        self.has(&live).await
    }

    async fn clear(&self) -> Result<(), BrokenPromise> {
        let clear = async {
            let keys: Vec<_> = self.hub.peers().await?.into_iter().map(|status| status.key).collect();
            self.hub.remove_peers(&keys).await
        };
        let broken = |error| BrokenPromise {
            promise: "all peers can be removed",
            instead: words(error),
        };
        clear.await.map_err(broken)
    }

    fn three_peers(&self) -> [PeerConfig; 3] {
        [0, 1, 2].map(|number| self.peer(number))
    }

    fn some_peers(&self, count: usize) -> Vec<PeerConfig> {
        (0..count).map(|number| self.peer(number)).collect()
    }

    fn peer(&self, number: usize) -> PeerConfig {
        PeerConfig::new(WireguardPrivateKey::generate().public_key(), self.address(number))
    }

    fn address(&self, number: usize) -> VpnAddress {
        self.network
            .device_addresses()
            .nth(number)
            .expect("the network has room for 2,000 devices")
    }

    /// Checks that the hub has these peers, with these addresses, and no others.
    async fn has(&self, peers: &[PeerConfig]) -> Verdict {
        let host = |address: VpnAddress| hosts(address).collect::<BTreeSet<IpNet>>();
        let expected: BTreeMap<WireguardKey, _> = peers.iter().map(|peer| (peer.key, host(peer.address))).collect();
        let found = self.hub.peers().await.map_err(words)?;
        let count = found.len();
        let found: BTreeMap<_, _> = found
            .into_iter()
            .map(|status| {
                (
                    status.key,
                    status.allowed_addresses.into_iter().collect::<BTreeSet<_>>(),
                )
            })
            .collect();
        same(count, found.len())?;
        same(found, expected)
    }
}

fn refused(result: Result<(), HubError>, expected: WireguardKey, why: PeerFault) -> Verdict {
    let Err(HubError::InvalidPeer { key, fault }) = result else {
        return Err(format!("{result:?}"));
    };
    same((key, fault), (expected, why))
}

fn same<T: PartialEq + fmt::Debug>(found: T, expected: T) -> Verdict {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{found:?} instead of {expected:?}"))
    }
}

fn words(error: HubError) -> String {
    format!("{error:?}")
}
