//! Days of a fleet in a minute: devices come, renew, are shut out and go, while hub, authority and the process itself
//! fall over. What must hold does at the end, whatever happened in between.
//!
//! Two hours with every run of the tests; a campaign with
//! `CHURN_HOURS=72 CHURN_SEED=7 cargo test -p iot-bridge-api --test it churn -- --nocapture`.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use common::domain::{CertificateState, DeviceDirectory as _, DeviceFilter, DeviceState};
use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, Mood, TestDevice, World};

const HOURS: Option<&str> = option_env!("CHURN_HOURS");
const SEED: Option<&str> = option_env!("CHURN_SEED");

/// Most devices in service: enough that addresses run out of quarantine again.
const FLEET: usize = 40;

#[tokio::test]
async fn whatever_happens_in_days_of_churn_everything_that_must_hold_does() {
    let hours: u64 = HOURS.map_or(2, |text| text.parse().unwrap());
    let seed: u64 = SEED.map_or(1, |text| text.parse().unwrap());
    let mut churn = Churn {
        world: World::with_network("10.8.0.0/25").await,
        dice: Dice(seed),
        devices: Vec::new(),
        born: 0,
        counts: BTreeMap::new(),
    };
    let end = churn.world.clock_now() + Duration::from_hours(hours);

    while churn.world.clock_now() < end {
        churn = churn.step().await;
    }

    println!("{hours} h, seed {seed}: {:?}", churn.counts);
    churn.comes_to_rest().await;
    churn.is_clean().await;
}

struct Churn {
    world: World,
    dice: Dice,
    devices: Vec<Device>,
    born: u32,
    counts: BTreeMap<&'static str, u32>,
}

struct Device {
    id: String,
    identity: TestDevice,
    token: String,
    /// The certificates that it holds, the newest last.
    leaves: Vec<String>,
}

/// What may happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    Enroll,
    Renew,
    CheckIn,
    Decommission,
    Quarantine,
    Release,
}

impl Churn {
    async fn step(mut self) -> Self {
        let pause = Duration::from_secs(self.dice.below(180) + 20);
        self.world.clock.advance(pause);
        self.something_falls_over();
        let event = self.event();
        // At one step in ten the power goes somewhere on the way.
        let polls = (self.dice.below(10) == 0).then(|| self.dice.below(40));
        let is_done = cut_after(polls, self.happens(event)).await.is_some();
        self = if is_done && self.dice.below(30) > 0 {
            self
        } else {
            self.count(if is_done { "restart" } else { "crash" });
            let world = self.world.restart(is_done).await;
            Self { world, ..self }
        };
        self.timers().await;
        self
    }

    /// What runs beside requests; a system that is away is no failure.
    async fn timers(&self) {
        drop(self.world.services.jobs.run_due(&CancellationToken::new()).await);
        drop(self.world.services.reconciler.sweep().await);
        drop(self.world.services.observer.look().await);
    }

    fn something_falls_over(&mut self) {
        match self.dice.below(40) {
            0 => {
                self.count("hub restart");
                self.world.hub.members.lock().unwrap().clear();
            }
            1 => self.world.hub.goes_away(),
            2..6 => self.world.hub.comes_back(),
            6 => self.world.ca.is(Mood::Away),
            7..11 => self.world.ca.is(Mood::Good),
            _ => {}
        }
    }

    fn event(&mut self) -> Event {
        if self.devices.len() < 5 {
            return Event::Enroll;
        }
        match self.dice.below(20) {
            0..6 if self.devices.len() < FLEET => Event::Enroll,
            0..11 => Event::Renew,
            11..15 => Event::CheckIn,
            15..18 => Event::Decommission,
            18 => Event::Quarantine,
            _ => Event::Release,
        }
    }

    async fn happens(&mut self, event: Event) {
        match event {
            Event::Enroll => self.enroll().await,
            Event::Renew => self.renew().await,
            Event::CheckIn => self.check_in().await,
            Event::Decommission => self.decommission().await,
            Event::Quarantine => self.order("quarantine").await,
            Event::Release => self.order("release").await,
        }
    }

    /// A device that has no certificate yet asks again; else a new one comes.
    async fn enroll(&mut self) {
        let waiting = self.devices.iter().position(|device| device.leaves.is_empty());
        let place = if let Some(place) = waiting {
            place
        } else {
            self.born += 1;
            let id = format!("pump-{}", self.born);
            let token = self.world.token_for(&id).await;
            self.devices.push(Device {
                identity: TestDevice::new(&id),
                leaves: Vec::new(),
                id,
                token,
            });
            self.devices.len() - 1
        };
        let device = &self.devices[place];
        let answer = self
            .world
            .enroll(&device.id, &device.token, &device.identity.request())
            .await;
        if answer.status.is_success() && answer.status != StatusCode::ACCEPTED {
            self.devices[place].leaves.push(answer.field("certificate"));
            self.count("enrolled");
        }
    }

    async fn renew(&mut self) {
        let place = self.any();
        let Some(leaf) = self.devices[place].leaves.last().cloned() else {
            return;
        };
        let id = self.devices[place].id.clone();
        let body = json!({ "csr": TestDevice::new(&id).csr });
        let answer = self.as_device(&id, "renew", &leaf, Some(&body)).await;
        if answer.status.is_success() && answer.status != StatusCode::ACCEPTED {
            self.devices[place].leaves.push(answer.field("certificate"));
            self.count("renewed");
        }
    }

    async fn check_in(&mut self) {
        let place = self.any();
        let Some(leaf) = self.devices[place].leaves.last().cloned() else {
            return;
        };
        let id = self.devices[place].id.clone();
        if self.as_device(&id, "checkin", &leaf, None).await.status.is_success() {
            self.count("checked in");
        }
    }

    async fn decommission(&mut self) {
        let place = self.any();
        let id = self.devices[place].id.clone();
        let answer = self.world.admin("DELETE", &format!("/devices/{id}")).await;
        if answer.status.is_success() {
            self.devices.remove(place);
            self.count("decommissioned");
        }
    }

    async fn order(&mut self, order: &'static str) {
        let place = self.any();
        let id = self.devices[place].id.clone();
        let answer = self.world.admin("POST", &format!("/devices/{id}/{order}")).await;
        if answer.status.is_success() {
            self.count(order);
        }
    }

    async fn as_device(&self, id: &str, what: &str, leaf: &str, body: Option<&serde_json::Value>) -> Answer {
        let path = format!("/devices/{id}/{what}");
        self.world.as_device("POST", &path, leaf, body).await
    }

    fn any(&mut self) -> usize {
        let count = u64::try_from(self.devices.len()).unwrap();
        usize::try_from(self.dice.below(count)).unwrap()
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Everybody is back, and what was ordered is carried out.
    async fn comes_to_rest(&self) {
        self.world.hub.comes_back();
        self.world.ca.is(Mood::Good);
        for _ in 0..20 {
            self.world.clock.advance(Duration::from_hours(1));
            self.timers().await;
        }
    }

    async fn is_clean(&self) {
        let store = &self.world.store;
        assert_eq!(store.check_invariants().await.unwrap(), Vec::<String>::new());
        assert_eq!(self.world.services.jobs.list(None).await.unwrap(), []);
        let wanted: BTreeSet<_> = store
            .vpn_members()
            .await
            .unwrap()
            .into_iter()
            .map(|member| (member.key, member.address))
            .collect();
        let present = self.world.hub.members.lock().unwrap().clone();
        let present: BTreeSet<_> = present.into_iter().map(|(key, address)| (key, address.ip())).collect();
        assert_eq!(present, wanted, "the hub is not as the database says");
        let revoked: BTreeSet<_> = self.world.ca.revoked.lock().unwrap().iter().cloned().collect();
        let filter = DeviceFilter {
            state: Some(DeviceState::Retired),
            limit: 1000,
            ..DeviceFilter::default()
        };
        for view in store.list(&filter).await.unwrap().views {
            for certificate in store.certificates(&view.device.id).await.unwrap() {
                assert_eq!(certificate.state, CertificateState::Revoked);
                let serial = certificate.issued.map(|issued| issued.serial);
                assert!(
                    serial.is_none_or(|serial| revoked.contains(&serial)),
                    "{}",
                    view.device.id
                );
            }
        }
    }
}

/// Goes on with something so many times, and drops it then: as far as it got, it got.
async fn cut_after<T>(polls: Option<u64>, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (pin!(work), polls);
    std::future::poll_fn(|context| {
        if let Some(left) = &mut left {
            if *left == 0 {
                return Poll::Ready(None);
            }
            *left -= 1;
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}

/// `SplitMix64`: what happens is decided by the seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}
