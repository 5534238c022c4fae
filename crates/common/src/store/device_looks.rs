//! Devices are looked up together, in the turn of the next commit: whoever opens a session wants both, and a look of its
//! own would cost as much as its part of the commit.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Store;
use super::devices::device;
use super::failures::copy;
use super::given::sql_given;
use super::statement::{row, sql_about};
use crate::domain::{Device, DeviceId, StoreError};

/// Those who wait for the next look.
#[derive(Default)]
pub(super) struct DeviceLooks(Mutex<Vec<Waiting>>);

struct Waiting {
    id: DeviceId,
    asker: oneshot::Sender<Found>,
}

pub(super) type Found = Result<Option<Device>, StoreError>;

impl Store {
    /// Looks once for all who wait.
    pub(super) async fn look_at_devices(&self, looks: &DeviceLooks) {
        let waiting = looks.take();
        if waiting.is_empty() {
            return;
        }
        let ids: BTreeSet<&DeviceId> = waiting.iter().map(|waiting| &waiting.id).collect();
        let devices = self.devices(&ids).await;
        for Waiting { id, asker } in waiting {
            let found = match &devices {
                Ok(devices) => Ok(devices.get(&id).cloned()),
                Err(error) => Err(copy(error)),
            };
            // Nobody waits any more for a look whose caller was dropped.
            drop(asker.send(found));
        }
    }

    async fn devices(&self, ids: &BTreeSet<&DeviceId>) -> Result<HashMap<DeviceId, Device>, StoreError> {
        let texts = sql_given!(
            (wanted)
            "SELECT id, state, group_name, device_type, display_name, epoch, address, wireguard_key, created_at,
                 enrolled_at, retired_at, last_connected_at
             FROM given JOIN device ON device.id = given.wanted"
        );
        let rows = ids.iter().map(|id| row().bind::<DeviceId>(id)).collect();
        let rows = self.all(sql_about(texts, rows)).await?;
        let devices = rows.iter().map(device);
        devices
            .map(|device| device.map(|device| (device.id.clone(), device)))
            .collect()
    }
}

impl DeviceLooks {
    pub(super) fn join(&self, id: &DeviceId) -> oneshot::Receiver<Found> {
        let (asker, answer) = oneshot::channel();
        let id = id.clone();
        self.waiting().push(Waiting { id, asker });
        answer
    }

    fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.waiting())
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
