//! A hub in memory, as strict about keys and addresses as a real one.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use common::domain::{System, Timestamp, VpnAddress, VpnNetwork, WireguardKey, WireguardPrivateKey};
use iot_bridge_api::ports::{GatewayHealth, MemberStatus, UpstreamError, VpnGateway, VpnMember};
use tokio::sync::Notify;

pub(crate) struct TestHub {
    key: Mutex<WireguardKey>,
    /// How often it was told to change something.
    pub(crate) writes: AtomicUsize,
    pub(crate) served: Mutex<Option<VpnNetwork>>,
    pub(crate) is_away: AtomicBool,
    refuses: Mutex<Option<WireguardKey>>,
    hesitates: AtomicBool,
    was_told: Notify,
    goes_on: Notify,
    pub(crate) members: Mutex<HashMap<WireguardKey, VpnAddress>>,
    pub(crate) handshake: Mutex<Option<Timestamp>>,
}

impl TestHub {
    pub(crate) fn new() -> Self {
        Self::with_key(WireguardPrivateKey::generate().public_key())
    }

    pub(crate) fn with_key(key: WireguardKey) -> Self {
        Self {
            key: Mutex::new(key),
            writes: AtomicUsize::new(0),
            served: Mutex::default(),
            is_away: AtomicBool::new(false),
            refuses: Mutex::default(),
            hesitates: AtomicBool::new(false),
            was_told: Notify::new(),
            goes_on: Notify::new(),
            members: Mutex::default(),
            handshake: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> WireguardKey {
        *self.key.lock().unwrap()
    }

    /// Loses its key file, and makes another.
    pub(crate) fn is_another_one(&self) -> WireguardKey {
        let key = WireguardPrivateKey::generate().public_key();
        *self.key.lock().unwrap() = key;
        key
    }

    pub(crate) fn goes_away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
    }

    pub(crate) fn comes_back(&self) {
        self.is_away.store(false, Ordering::Relaxed);
    }

    /// Takes everyone in but whoever has this key.
    pub(crate) fn refuses(&self, key: Option<WireguardKey>) {
        *self.refuses.lock().unwrap() = key;
    }

    /// Waits before it makes the next change.
    pub(crate) fn hesitates(&self) {
        self.hesitates.store(true, Ordering::Relaxed);
    }

    /// Waits until it hesitates, and goes on after something was done.
    pub(crate) async fn goes_on_after(&self, something: impl Future<Output = ()>) {
        self.was_told.notified().await;
        something.await;
        self.goes_on.notify_one();
    }

    /// How many members there are.
    pub(crate) fn count(&self) -> usize {
        self.members.lock().unwrap().len()
    }

    /// Loses a peer, as a hub that was restarted.
    pub(crate) fn forgets(&self, key: WireguardKey) {
        self.members.lock().unwrap().remove(&key);
    }

    pub(crate) fn knows(&self, key: WireguardKey) -> bool {
        self.members.lock().unwrap().contains_key(&key)
    }

    /// Begins a change.
    async fn is_told(&self) -> Result<(), UpstreamError> {
        if self.hesitates.swap(false, Ordering::Relaxed) {
            self.was_told.notify_one();
            self.goes_on.notified().await;
        }
        self.answer()?;
        self.writes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn answer(&self) -> Result<(), UpstreamError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Err(UpstreamError::unavailable(System::Vpn, "the test took it away"));
        }
        Ok(())
    }
}

#[async_trait]
impl VpnGateway for TestHub {
    async fn identity(&self) -> Result<WireguardKey, UpstreamError> {
        self.answer().map(|()| self.key())
    }

    async fn ensure_members(&self, members: &[VpnMember]) -> Result<(), UpstreamError> {
        self.is_told().await?;
        // The whole batch or nothing of it.
        let mut present = self.members.lock().unwrap();
        let mut changed = present.clone();
        for member in members {
            if member.key == self.key() {
                return Err(UpstreamError::refused(System::Vpn, "it is the hub's own key"));
            }
            if Some(member.key) == *self.refuses.lock().unwrap() {
                return Err(UpstreamError::refused(System::Vpn, "the test does not want it"));
            }
            if changed
                .iter()
                .any(|(key, address)| *key != member.key && *address == member.address)
            {
                return Err(UpstreamError::refused(System::Vpn, "the address is taken"));
            }
            changed.insert(member.key, member.address);
        }
        *present = changed;
        Ok(())
    }

    async fn remove_members(&self, keys: &[WireguardKey]) -> Result<(), UpstreamError> {
        self.is_told().await?;
        self.members.lock().unwrap().retain(|key, _| !keys.contains(key));
        Ok(())
    }

    async fn members(&self) -> Result<Vec<MemberStatus>, UpstreamError> {
        self.answer()?;
        let last_handshake_at = *self.handshake.lock().unwrap();
        let status = |(key, address): (&WireguardKey, &VpnAddress)| MemberStatus {
            key: *key,
            address: Some(*address),
            last_handshake_at,
            endpoint: Some("198.51.100.7:4711".to_owned()),
            received_bytes: 1,
            sent_bytes: 2,
        };
        Ok(self.members.lock().unwrap().iter().map(status).collect())
    }

    async fn health(&self) -> Result<GatewayHealth, UpstreamError> {
        Ok(GatewayHealth {
            identity: self.identity().await?,
            members: self.count(),
        })
    }

    async fn serve(&self, network: VpnNetwork) -> Result<(), UpstreamError> {
        self.answer()?;
        *self.served.lock().unwrap() = Some(network);
        Ok(())
    }
}
