use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};

use common::domain::{VpnAddress, WireguardKey, WireguardPrivateKey};
use ipnet::{IpNet, Ipv4Net};

use crate::control::device::{Change, ControlledDevice, Incarnation, RawPeer, Reading};

/// How an interface may deceive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// It is not there.
    Missing,
    /// It says yes and does nothing.
    IgnoreChanges,
    /// It does the first half, and says no.
    FailHalfWay,
    /// It tells a peer and its address in two messages, as the kernel may.
    SplitPeers,
}

/// An interface that is not there.
pub(super) struct Pretended {
    private_key: Arc<WireguardPrivateKey>,
    state: Mutex<State>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[derive(Default)]
struct State {
    incarnation: u64,
    public_key: Option<[u8; 32]>,
    listen_port: u16,
    peers: BTreeMap<[u8; 32], Peer>,
    lie: Option<Lie>,
    hang: Option<Receiver<()>>,
    readings: usize,
    changes: usize,
    calls: Vec<WireguardKey>,
}

#[derive(Default)]
struct Peer {
    addresses: Vec<IpNet>,
    endpoint: Option<SocketAddr>,
    is_kept_alive: bool,
}

impl Pretended {
    pub(super) fn new() -> Self {
        let private_key = Arc::new(WireguardPrivateKey::generate());
        let public_key = Some(*private_key.public_key().as_bytes());
        let state = Mutex::new(State {
            public_key,
            ..State::default()
        });
        Self {
            private_key,
            state,
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        }
    }

    pub(super) fn identity(&self) -> WireguardKey {
        self.private_key.public_key()
    }

    pub(super) fn private_key(&self) -> Arc<WireguardPrivateKey> {
        Arc::clone(&self.private_key)
    }

    pub(super) fn lie(&self, lie: Lie) {
        self.state().lie = Some(lie);
    }

    pub(super) fn tells_the_truth(&self) {
        self.state().lie = None;
    }

    pub(super) fn has_key(&self, key: Option<[u8; 32]>) {
        self.state().public_key = key;
    }

    pub(super) fn has_peer(&self, key: [u8; 32], address: VpnAddress) {
        self.state().put(key, address);
    }

    pub(super) fn loses_its_peers(&self) {
        self.state().peers.clear();
    }

    pub(super) fn is_replaced(&self) {
        self.state().incarnation += 1;
    }

    /// Lets the next reading hang until the returned end is dropped.
    pub(super) fn hangs(&self) -> Sender<()> {
        let (release, hang) = channel();
        self.state().hang = Some(hang);
        release
    }

    pub(super) fn readings(&self) -> usize {
        self.state().readings
    }

    pub(super) fn changes(&self) -> usize {
        self.state().changes
    }

    pub(super) fn calls(&self) -> Vec<WireguardKey> {
        self.state().calls.clone()
    }

    pub(super) fn peers(&self) -> usize {
        self.state().peers.len()
    }

    pub(super) fn kept_alive(&self) -> usize {
        self.state().peers.values().filter(|peer| peer.is_kept_alive).count()
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.most_at_once.load(Ordering::SeqCst)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl ControlledDevice for Pretended {
    fn incarnation(&self) -> io::Result<Incarnation> {
        let state = self.state();
        if state.lie == Some(Lie::Missing) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Incarnation(state.incarnation, 0))
    }

    fn read(&self) -> io::Result<Reading> {
        self.most_at_once
            .fetch_max(self.at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let hang = self.state().hang.take();
        if let Some(hang) = hang {
            hang.recv().unwrap_err();
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let mut state = self.state();
        state.readings += 1;
        let (public_key, listen_port) = (state.public_key, Some(state.listen_port));
        let split = state.lie == Some(Lie::SplitPeers);
        let peers = state
            .peers
            .iter()
            .flat_map(|(key, peer)| raw(*key, peer, split))
            .collect();
        Ok(Reading {
            public_key,
            listen_port,
            peers,
        })
    }

    fn change(&self, changes: &[Change]) -> io::Result<()> {
        let mut state = self.state();
        state.changes += 1;
        let done = match state.lie {
            Some(Lie::IgnoreChanges) => 0,
            Some(Lie::FailHalfWay) => changes.len() / 2,
            Some(Lie::Missing | Lie::SplitPeers) | None => changes.len(),
        };
        for change in &changes[..done] {
            state.change(change);
        }
        if state.lie == Some(Lie::FailHalfWay) {
            Err(io::ErrorKind::InvalidInput.into())
        } else {
            Ok(())
        }
    }

    fn configure(&self, key: &WireguardPrivateKey, port: u16) -> io::Result<()> {
        let mut state = self.state();
        state.public_key = Some(*key.public_key().as_bytes());
        state.listen_port = port;
        state.peers.clear();
        Ok(())
    }
}

impl State {
    fn change(&mut self, change: &Change) {
        match *change {
            Change::Put { key, address } => self.put(*key.as_bytes(), address),
            Change::Call { key, endpoint } => {
                let peer = self.peers.entry(*key.as_bytes()).or_default();
                (peer.endpoint, peer.is_kept_alive) = (Some(endpoint), true);
                self.calls.push(key);
            }
            Change::LeaveAlone { key } => self.peers.entry(*key.as_bytes()).or_default().is_kept_alive = false,
            Change::Remove { key } => drop(self.peers.remove(&key)),
        }
    }

    /// Gives a peer one address, which nobody else has afterwards.
    fn put(&mut self, key: [u8; 32], address: VpnAddress) {
        let address = IpNet::V4(Ipv4Net::from(address.ip()));
        for peer in self.peers.values_mut() {
            peer.addresses.retain(|other| *other != address);
        }
        self.peers.entry(key).or_default().addresses = vec![address];
    }
}

fn raw(key: [u8; 32], peer: &Peer, split: bool) -> Vec<RawPeer> {
    let whole = RawPeer {
        key,
        allowed_addresses: peer.addresses.clone(),
        last_handshake: None,
        endpoint: peer.endpoint,
        received_bytes: 0,
        sent_bytes: 0,
    };
    if !split {
        return vec![whole];
    }
    let rest = RawPeer {
        endpoint: None,
        ..whole.clone()
    };
    vec![
        RawPeer {
            allowed_addresses: Vec::new(),
            ..whole
        },
        rest,
    ]
}
