use std::sync::Mutex;

use common::domain::{VpnNetwork, WireguardPrivateKey};
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn what_comes_while_the_hub_is_busy_is_done_in_one_go() {
    let (hub, recorder) = start();
    recorder.gate.close_for_now();
    let peers: Vec<_> = (2..102).map(peer).collect();

    let calls = peers.iter().map(|peer| hub.ensure_peers(std::slice::from_ref(peer)));
    let (results, ()) = tokio::join!(join_all(calls), async { recorder.gate.open_when_busy().await });

    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let sizes: Vec<_> = recorder.batches().iter().map(Vec::len).collect();
    assert!(
        sizes.len() <= 2 && sizes.iter().sum::<usize>() == peers.len(),
        "{sizes:?}"
    );
}

#[tokio::test]
async fn one_wrong_wish_does_not_spoil_the_others() {
    let (hub, recorder) = start();
    recorder.gate.close_for_now();
    let (first, good, bad) = (peer(2), peer(3), peer(BAD));

    let calls = [first, good, bad].map(|peer| {
        let hub = &hub;
        async move { hub.ensure_peers(&[peer]).await }
    });
    let (results, ()) = tokio::join!(join_all(calls), async { recorder.gate.open_when_busy().await });

    assert!(results[0].is_ok() && results[1].is_ok(), "{results:?}");
    assert!(matches!(&results[2], Err(HubError::AddressTaken { address, .. }) if *address == bad.address));
}

#[tokio::test]
async fn wishes_that_contradict_each_other_are_fulfilled_in_their_order() {
    let (hub, recorder) = start();
    recorder.gate.close_for_now();
    let (first, one) = (peer(2), peer(3));
    let moved = PeerConfig {
        address: peer(4).address,
        ..one
    };

    let calls = async {
        tokio::join!(
            biased;
            hub.ensure_peers(std::slice::from_ref(&first)),
            hub.ensure_peers(std::slice::from_ref(&one)),
            hub.remove_peers(std::slice::from_ref(&first.key)),
            hub.ensure_peers(std::slice::from_ref(&one)),
            hub.ensure_peers(std::slice::from_ref(&moved)),
        )
    };
    let (results, ()) = tokio::join!(calls, async { recorder.gate.open_when_busy().await });

    assert!(
        matches!(results, (Ok(()), Ok(()), Ok(()), Ok(()), Ok(()))),
        "{results:?}"
    );

    assert_eq!(recorder.batches(), [vec![first, one], vec![], vec![one], vec![moved]]);
}

#[tokio::test]
async fn a_writer_that_is_told_to_stop_finishes_what_was_asked_for() {
    let recorder = Arc::new(Recorder::new());
    let (hub, writer) = BatchingHub::new(Arc::clone(&recorder) as Arc<dyn Hub>);
    let stop = CancellationToken::new();
    stop.cancel();
    let wish = peer(2);

    let (result, ()) = tokio::join!(biased; hub.ensure_peers(std::slice::from_ref(&wish)), writer.run(stop));

    result.unwrap();
    let late = hub.ensure_peers(&[peer(3)]).await;
    assert!(matches!(late, Err(HubError::Unavailable { .. })), "{late:?}");
    assert_eq!(recorder.batches(), [vec![wish]]);
}

/// A device with this number is refused.
const BAD: u8 = 200;

/// Writes down what it is asked for, one thing at a time.
struct Recorder {
    gate: Gate,
    batches: Mutex<Vec<Vec<PeerConfig>>>,
}

struct Gate(Semaphore);

impl Gate {
    fn close_for_now(&self) {
        self.0.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Opens for good after everybody who could run has run.
    async fn open_when_busy(&self) {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        self.0.add_permits(1000);
    }

    async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

impl Recorder {
    fn new() -> Self {
        Self {
            gate: Gate(Semaphore::new(1000)),
            batches: Mutex::default(),
        }
    }

    fn batches(&self) -> Vec<Vec<PeerConfig>> {
        self.batches.lock().unwrap().clone()
    }
}

#[async_trait]
impl Hub for Recorder {
    async fn identity(&self) -> Result<WireguardKey, HubError> {
        Ok(WireguardPrivateKey::generate().public_key())
    }

    async fn ensure_peers(&self, peers: &[PeerConfig]) -> Result<(), HubError> {
        self.gate.pass().await;
        let bad = peers.iter().find(|other| other.address == peer(BAD).address);
        if let Some(bad) = bad {
            return Err(HubError::AddressTaken {
                address: bad.address,
                holder: bad.key,
            });
        }
        let mut peers = peers.to_vec();
        peers.sort_by_key(|peer| peer.address);
        self.batches.lock().unwrap().push(peers);
        Ok(())
    }

    async fn remove_peers(&self, _: &[WireguardKey]) -> Result<(), HubError> {
        self.gate.pass().await;
        self.batches.lock().unwrap().push(Vec::new());
        Ok(())
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, HubError> {
        Ok(Vec::new())
    }

    async fn serve(&self, _network: VpnNetwork) -> Result<(), HubError> {
        Ok(())
    }
}

fn start() -> (BatchingHub, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::new());
    let (hub, writer) = BatchingHub::new(Arc::clone(&recorder) as Arc<dyn Hub>);
    #[expect(clippy::disallowed_methods, reason = "the test's runtime ends it")]
    drop(tokio::spawn(writer.run(CancellationToken::new())));
    (hub, recorder)
}

fn peer(last: u8) -> PeerConfig {
    let network = VpnNetwork::new("10.8.0.0/24".parse().unwrap(), None).unwrap();
    let address = network.device_address([10, 8, 0, last].into()).unwrap();
    PeerConfig::new(WireguardPrivateKey::generate().public_key(), address)
}
