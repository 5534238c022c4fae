//! One enrollment and one renewal of a device at a time, so that parallel requests lead to one certificate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::domain::DeviceId;
use tokio::sync::OwnedMutexGuard;

/// How long a request waits while another one does the same for its device.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Hands out turns, one a device. It is a courtesy within this process: the database alone keeps the rules.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<DeviceId, Arc<tokio::sync::Mutex<()>>>>);

/// The right to go on; dropped when done.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    id: DeviceId,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a device's turn; none when it did not come within `patience`.
    pub(super) async fn wait(&self, id: &DeviceId, patience: Duration) -> Option<Turn<'_>> {
        let lane = Arc::clone(self.lanes().entry(id.clone()).or_default());
        let mut turn = Turn {
            turns: self,
            id: id.clone(),
            guard: None,
        };
        turn.guard = Some(tokio::time::timeout(patience, lane.lock_owned()).await.ok()?);
        Some(turn)
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceId, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    /// Forgets a device's lane when nobody waits in it, so that the map is no larger than what runs.
    fn drop(&mut self) {
        let mut lanes = self.turns.lanes();
        drop(self.guard.take());
        if lanes.get(&self.id).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> DeviceId {
        DeviceId::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_device_waits_for_itself_and_not_for_another() {
        let turns = Turns::default();
        let first = turns.wait(&id("pump-7"), PATIENCE).await.unwrap();

        assert!(turns.wait(&id("pump-7"), Duration::ZERO).await.is_none());
        assert!(turns.wait(&id("pump-8"), PATIENCE).await.is_some());
        drop(first);
        assert!(turns.wait(&id("pump-7"), PATIENCE).await.is_some());
    }

    #[tokio::test]
    async fn nothing_is_remembered_when_all_is_done() {
        let turns = Turns::default();
        let first = turns.wait(&id("pump-7"), PATIENCE).await;
        let second = turns.wait(&id("pump-7"), Duration::ZERO).await;
        drop(first);
        drop(second);

        assert!(turns.lanes().is_empty());
    }
}
