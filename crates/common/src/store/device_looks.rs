//! Devices are looked up together, in the turn of the next commit: whoever opens a session wants both, and a look of its
//! own would cost as much as its part of the commit.

use std::collections::{HashMap, HashSet};

use super::Store;
use super::devices::device;
use super::given::sql_given;
use super::statement::{row, sql_about};
use super::turns::Questions;
use crate::domain::{Device, DeviceId, StoreError};

/// Those who wait for the next look.
pub(super) type DeviceLooks = Questions<DeviceId, Device>;

impl Store {
    /// Looks once for all who wait.
    pub(super) async fn look_at_devices(&self, looks: &DeviceLooks) {
        let asked = looks.take();
        if !asked.is_empty() {
            let devices = self.devices(&asked.keys()).await;
            asked.answer(&devices);
        }
    }

    async fn devices(&self, ids: &HashSet<&DeviceId>) -> Result<HashMap<DeviceId, Device>, StoreError> {
        let texts = sql_given!(
            (wanted)
            "SELECT id, state, group_name, device_type, display_name, epoch, address, wireguard_key, created_at,
                 enrolled_at, retired_at, last_connected_at
             FROM given CROSS JOIN device WHERE device.id = given.wanted"
        );
        let rows = ids.iter().map(|id| row().bind::<DeviceId>(id)).collect();
        let rows = self.all_in_turn(sql_about(texts, rows)).await?;
        let devices = rows.iter().map(device);
        devices
            .map(|device| device.map(|device| (device.id.clone(), device)))
            .collect()
    }
}
