//! The hub brought in line with the database, in both directions: whoever is missing is added, strangers go.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::domain::{DeviceDirectory, DriftLedger, StoreError, System, WireguardKey};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Network;
use super::alignment::AlignError;
use crate::ports::{UpstreamError, VpnMember};

/// How many members are added or removed at once.
const BATCH: usize = 1000;
/// How often the hub is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Up to so many members, comparing all of them is cheaper than asking whether that is necessary.
const SMALL: usize = 1000;
/// Above, only every so-manieth look asks the hub anything: listing 60,000 peers takes it half a second.
const LOOKS_APART: u32 = 5;
/// The right to correct the hub, and how long one who dies with it keeps it.
const LEASE: &str = "hub";
const LEASE_FOR: Duration = Duration::from_mins(1);

/// What a sweep changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Members that were missing, or had another address.
    pub added: usize,
    /// Keys that had no business there.
    pub removed: usize,
}

/// How the hub differs from the database.
struct Difference {
    missing: Vec<VpnMember>,
    strangers: Vec<WireguardKey>,
    /// Whoever has the hub's own key on record: no hub takes it in.
    impostor: Option<VpnMember>,
    size: Size,
}

/// How large the network should be.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    members: usize,
    /// How many are on record beside them and cannot be members.
    impostors: usize,
}

/// Compares and corrects.
pub struct Reconciler {
    directory: Arc<dyn DeviceDirectory>,
    leases: Arc<dyn DriftLedger>,
    network: Arc<Network>,
    one_at_a_time: tokio::sync::Mutex<()>,
    /// Who stays out whatever is done; each is named once.
    left_out: Mutex<HashSet<WireguardKey>>,
}

/// What a timer knows between two looks.
#[derive(Default)]
struct Watch {
    looks: u32,
    size: Size,
    compared: Option<Instant>,
    is_in_line: bool,
}

impl Reconciler {
    /// Watches over the hub's members.
    pub fn new(directory: Arc<dyn DeviceDirectory>, leases: Arc<dyn DriftLedger>, network: Arc<Network>) -> Self {
        Self {
            directory,
            leases,
            network,
            one_at_a_time: tokio::sync::Mutex::default(),
            left_out: Mutex::default(),
        }
    }

    /// Compares at once, then whenever the hub's identity or its number of members is not as expected and at least
    /// every so often, until told to stop. A small network is compared at every look.
    pub async fn run(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut watch = Watch::default();
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if stop.run_until_cancelled(self.look(&mut watch, every)).await.is_none() {
                return;
            }
        }
    }

    async fn look(&self, watch: &mut Watch, every: Duration) {
        watch.looks = watch.looks.wrapping_add(1);
        let result = match self.is_due(watch, every).await {
            Ok(false) => return,
            Ok(true) => self.sweep_counted().await,
            Err(error) => Err(error),
        };
        match result {
            Ok((swept, size)) => {
                *watch = Watch {
                    size,
                    compared: Some(Instant::now()),
                    is_in_line: true,
                    ..*watch
                };
                if swept != Swept::default() {
                    let Swept { added, removed } = swept;
                    tracing::info!(
                        added,
                        removed,
                        "Brought the hub in line: {added} added, {removed} removed"
                    );
                }
            }
            Err(error) => report(&error, std::mem::replace(&mut watch.is_in_line, false)),
        }
    }

    async fn is_due(&self, watch: &Watch, every: Duration) -> Result<bool, AlignError> {
        let Some(compared) = watch.compared.filter(|_| watch.is_in_line) else {
            return Ok(true);
        };
        if watch.size.members <= SMALL || compared.elapsed() >= every {
            return Ok(true);
        }
        if !watch.looks.is_multiple_of(LOOKS_APART) {
            return Ok(false);
        }
        let health = self.network.health().await?;
        Ok(health.members + watch.size.impostors != self.directory.count_vpn_members().await?)
    }

    /// Compares once and corrects what differs; members that are as they should be are not touched. Of all processes
    /// one corrects at a time.
    pub async fn sweep(&self) -> Result<Swept, AlignError> {
        Ok(self.sweep_counted().await?.0)
    }

    /// Compares once and changes nothing; returns a sentence for each difference, at most a hundred of each kind.
    pub async fn differences(&self) -> Result<Vec<String>, AlignError> {
        const SHOWN: usize = 100;
        let Difference {
            missing,
            strangers,
            impostor,
            ..
        } = self.compare().await?;
        let impostor = impostor.map(|member| {
            format!(
                "the record of a device has the hub's own key, so it is no member: `{}`",
                member.address
            )
        });
        let missing = missing.iter().take(SHOWN).map(|member| {
            format!(
                "a device in service is not on the hub with its key and address: `{}`",
                member.address
            )
        });
        let strangers = strangers.iter().take(SHOWN);
        let strangers =
            strangers.map(|key| format!("the hub has a peer that belongs to no device in service: `{key}`"));
        Ok(impostor.into_iter().chain(missing).chain(strangers).collect())
    }

    async fn sweep_counted(&self) -> Result<(Swept, Size), AlignError> {
        let _turn = self.one_at_a_time.lock().await;
        let difference = self.compare().await?;
        if let Some(impostor) = &difference.impostor {
            self.leave_out(impostor, "its record has the hub's own key");
        }
        if difference.missing.is_empty() && difference.strangers.is_empty() {
            return Ok((Swept::default(), difference.size));
        }
        if !self.leases.take_lease(LEASE, LEASE_FOR).await? {
            return Err(UpstreamError::unavailable(System::Vpn, "another process is correcting the hub").into());
        }
        let swept = self.correct().await;
        self.leases.end_lease(LEASE).await?;
        swept
    }

    /// Whoever had the right before may have corrected everything, so it is compared again.
    async fn correct(&self) -> Result<(Swept, Size), AlignError> {
        let Difference {
            missing,
            strangers,
            size,
            ..
        } = self.compare().await?;
        for batch in strangers.chunks(BATCH) {
            self.network.remove(batch).await?;
        }
        let swept = Swept {
            added: self.add(&missing).await?,
            removed: strangers.len(),
        };
        Ok((swept, size))
    }

    /// The hub is read first: a member that is on it then has been on record before, so whoever is not on record
    /// afterwards is a stranger, and not a device that enrolls right now.
    async fn compare(&self) -> Result<Difference, AlignError> {
        let hub_key = self.network.hub_key().await?;
        let members = self.network.members().await?;
        let present: HashMap<WireguardKey, _> =
            members.into_iter().map(|status| (status.key, status.address)).collect();
        let mut wanted = self.wanted().await?;
        let impostor = wanted.remove(&hub_key);
        let is_stranger = |key: &&WireguardKey| !wanted.contains_key(*key);
        let is_missing = |member: &&VpnMember| present.get(&member.key) != Some(&Some(member.address));
        Ok(Difference {
            strangers: present.keys().filter(is_stranger).copied().collect(),
            missing: wanted.values().filter(is_missing).copied().collect(),
            size: Size {
                members: wanted.len(),
                impostors: usize::from(impostor.is_some()),
            },
            impostor,
        })
    }

    async fn wanted(&self) -> Result<HashMap<WireguardKey, VpnMember>, StoreError> {
        let members = self.directory.vpn_members().await?;
        let members = members
            .iter()
            .filter_map(|member| self.network.member_on_record(member));
        Ok(members.map(|member| (member.key, member)).collect())
    }

    /// Adds members, and takes those off again that were shut out in between; returns how many were added.
    async fn add(&self, missing: &[VpnMember]) -> Result<usize, AlignError> {
        if missing.is_empty() {
            return Ok(0);
        }
        let added = self.add_all_but_refused(missing).await?;
        let wanted = self.wanted().await?;
        let shut_out: Vec<_> = missing
            .iter()
            .map(|member| member.key)
            .filter(|key| !wanted.contains_key(key))
            .collect();
        if !shut_out.is_empty() {
            self.network.remove(&shut_out).await?;
        }
        Ok(added)
    }

    /// Whom the hub refuses stays out alone: a batch that it refuses is halved until it shows who is at fault.
    async fn add_all_but_refused(&self, missing: &[VpnMember]) -> Result<usize, AlignError> {
        let mut added = 0;
        let mut batches: Vec<_> = missing.chunks(BATCH).collect();
        while let Some(batch) = batches.pop() {
            match (self.network.ensure_all(batch).await, batch) {
                (Ok(()), _) => added += batch.len(),
                (Err(AlignError::Upstream(UpstreamError::Refused { source, .. })), [member]) => {
                    self.leave_out(member, &source.to_string());
                }
                (Err(AlignError::Upstream(UpstreamError::Refused { .. })), _) => {
                    let (one_half, other_half) = batch.split_at(batch.len() / 2);
                    batches.extend([one_half, other_half]);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(added)
    }

    /// Names somebody who stays out, once.
    fn leave_out(&self, member: &VpnMember, reason: &str) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if left_out.insert(member.key) {
            let address = member.address;
            tracing::warn!(vpn.address = %address, reason, "The device with the address {address} is not on the hub");
        }
    }
}

/// Says once why the hub is not in line, loudly when it is the wrong one.
fn report(error: &AlignError, is_news: bool) {
    let reason = common::chassis::problem::error_chain(error);
    if !is_news {
        tracing::debug!(reason, "The hub is still not in line");
    } else if matches!(error, AlignError::Upstream(UpstreamError::Unexpected { .. })) {
        tracing::error!(reason, "The hub is another one, and is left alone: {reason}");
    } else {
        tracing::warn!(reason, "Cannot bring the hub in line; trying again");
    }
}

impl std::fmt::Debug for Reconciler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Reconciler")
    }
}
