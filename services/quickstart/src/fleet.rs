//! The simulated devices: each makes its keys, enrolls over HTTP, brings its tunnel up and serves a shell.

use std::error::Error;

use common::chassis::shutdown::Shutdown;
use common::domain::{DeviceDirectory as _, DeviceId, DeviceState};
use device::agent::{Device, RunningDevice};
use device::enroll::{EnrollSettings, Patience, ServerTrust};
use device::terminal::{self, TerminalSettings};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use secrecy::SecretString;

use crate::data::DataFolder;
use crate::operator::Operator;
use crate::platform::{OPERATOR_HEADER, Platform};
use crate::progress::Progress;

/// How many devices come up at the same time.
pub(crate) const AT_ONCE: usize = 8;

/// What a fleet is started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fleet<'start> {
    /// Where it enrolls.
    pub(crate) platform: &'start Platform,
    /// Where it keeps its identities.
    pub(crate) data: &'start DataFolder,
    /// Who hands out the enrollment token.
    pub(crate) operator: &'start Operator,
    /// Who waits for it at the end.
    pub(crate) shutdown: &'start Shutdown,
}

impl Fleet<'_> {
    /// Brings `count` devices up: those of a former start first, then new ones.
    pub(crate) async fn start(
        &self,
        count: u16,
        progress: &mut Progress,
    ) -> Result<Vec<RunningDevice>, Box<dyn Error>> {
        let token = self.operator.enrollment_token(count).await?;
        let ids = self.ids(count).await?;
        let Some((first, others)) = ids.split_first() else {
            return Ok(Vec::new());
        };
        let first = self.start_first(first, &token, progress).await?;
        let others = stream::iter(others.iter().map(|id| self.start_one(id, &token)))
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        if !others.is_empty() {
            progress.done("fleet", format_args!("{} more devices serve a shell", others.len()));
        }
        Ok([first].into_iter().chain(others).collect())
    }

    /// Names that were never decommissioned, counted up.
    async fn ids(&self, count: u16) -> Result<Vec<DeviceId>, Box<dyn Error>> {
        let mut ids = Vec::with_capacity(count.into());
        let mut number = 0_u32;
        while ids.len() < count.into() {
            number += 1;
            let id = DeviceId::parse(&format!("demo-{number}"))?;
            let known = self.platform.store.find(&id).await?;
            if known.is_none_or(|device| device.state != DeviceState::Retired) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    async fn start_first(
        &self,
        id: &DeviceId,
        token: &SecretString,
        progress: &mut Progress,
    ) -> Result<RunningDevice, Box<dyn Error>> {
        let device = Device::prepare(self.data.device(id.as_str())?, Some(id.clone())).await?;
        let known = device.is_enrolled();
        let enrolled = device.enroll(&self.enroll_settings(token)).await?;
        let how = if known { "is enrolled, as" } else { "enrolled as" };
        progress.done("enrolled", format_args!("{id} {how} {}", enrolled.address()));
        let connected = enrolled.connect(Some(&self.platform.hub)).await?;
        progress.done("tunnel", format_args!("{id}: WireGuard handshake"));
        let running = connected.serve(terminal_settings(), self.shutdown)?;
        progress.done(
            "terminal",
            format_args!("{id} serves a shell on {}:{}", running.address(), terminal::PORT),
        );
        Ok(running)
    }

    async fn start_one(&self, id: &DeviceId, token: &SecretString) -> Result<RunningDevice, Box<dyn Error>> {
        let device = Device::prepare(self.data.device(id.as_str())?, Some(id.clone())).await?;
        let enrolled = device.enroll(&self.enroll_settings(token)).await?;
        let connected = enrolled.connect(Some(&self.platform.hub)).await?;
        Ok(connected.serve(terminal_settings(), self.shutdown)?)
    }

    fn enroll_settings(&self, token: &SecretString) -> EnrollSettings {
        EnrollSettings {
            url: self.platform.api.clone(),
            trust: ServerTrust::Loopback,
            token: token.clone(),
            device_type: Some("simulated".to_owned()),
            device_name: None,
            patience: Patience::default(),
        }
    }
}

fn terminal_settings() -> TerminalSettings {
    TerminalSettings {
        user_header: Some(OPERATOR_HEADER),
        ..TerminalSettings::default()
    }
}
