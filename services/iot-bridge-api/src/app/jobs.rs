//! The standing orders: what has to be done in another system, done until it is done.
//!
//! The registry places an order in the transaction that makes it necessary; here it is carried out at once where
//! the other system answers, and else again and again, until an operator has to look.

use std::sync::Arc;
use std::time::Duration;

use common::chassis::problem::error_chain;
use common::domain::{Actor, Clock, DeviceId, Job, JobQueue, JobState, RegistryError, StoreError, System, Timestamp};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::alignment::{AlignError, Aligned, Alignment};
use super::breaker::{Breaker, Permit};
use crate::ports::UpstreamError;

/// First wait after a failure; it doubles with every further one.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_hours(10);
/// An order that could not be carried out for so long is dead.
const GIVE_UP_AFTER: time::Duration = time::Duration::hours(72);
/// For how long a claimed order belongs to this process: longer than a batch takes when every system is slow.
const LEASE: Duration = Duration::from_mins(5);
/// How many orders are claimed at once.
const BATCH: u16 = 16;
/// How many orders of one system are carried out at once; a device has at most one of them.
const ABREAST: usize = 8;
/// An order that was refused so often is dead: the same again will not work.
const MAX_REFUSALS: i32 = 5;
/// What a system gets to answer while someone waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often the runner looks for due orders.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often enrollments are looked for that stopped half way, and how old they have to be: a device that is there
/// goes on itself.
const RESUME_EVERY: Duration = Duration::from_mins(1);
/// How long after one order of a system it begins the next: at most a hundred a second. When a fleet comes back all at
/// once, the orders that follow must not take the machine from the messages that tell of it. It is also what a hawkBit
/// bears as it comes: its filter lets an address read 200 times a second, and an order reads twice.
const ORDER_EVERY: Duration = Duration::from_millis(10);

/// How an order for one system went, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Which system.
    pub system: System,
    /// `removed`, `revoked`, `ensured`, or `pending` when a job goes on trying.
    pub answer: &'static str,
}

/// Carries out orders.
pub struct Jobs {
    queue: Arc<dyn JobQueue>,
    alignment: Arc<Alignment>,
    clock: Arc<dyn Clock>,
    systems: Vec<(System, Breaker)>,
}

impl Jobs {
    /// Serves the orders for these systems, the ones that are configured.
    pub fn new(
        queue: Arc<dyn JobQueue>,
        alignment: Arc<Alignment>,
        clock: Arc<dyn Clock>,
        systems: Vec<System>,
    ) -> Self {
        Self {
            queue,
            alignment,
            clock,
            systems: systems.into_iter().map(|system| (system, Breaker::default())).collect(),
        }
    }

    /// Returns the configured systems: orders for others are not placed.
    pub fn systems(&self) -> Vec<System> {
        self.systems.iter().map(|(system, _)| *system).collect()
    }

    /// Lists orders, oldest first.
    pub async fn list(&self, state: Option<JobState>) -> Result<Vec<Job>, StoreError> {
        self.queue.jobs(state).await
    }

    /// Makes an order due at once, also a dead one.
    pub async fn retry(&self, id: Uuid, by: &Actor) -> Result<(), RegistryError> {
        self.queue.retry(id, by).await
    }

    /// Carries out a device's orders for these systems while someone waits for the answers. What fails stays an
    /// order.
    pub async fn carry_out_now(&self, id: &DeviceId, systems: &[System]) -> Result<Vec<Said>, StoreError> {
        let orders = self.queue.jobs_of(id).await?;
        let mut answers = Vec::with_capacity(systems.len());
        for system in systems {
            let answer = match self.align_while_someone_waits(id, *system).await {
                Ok(aligned) => {
                    let done = orders.iter().filter(|job| job.system == *system);
                    self.queue.complete(&done.cloned().collect::<Vec<_>>()).await?;
                    aligned.as_str()
                }
                Err(reason) => {
                    tracing::warn!(device.id = %id, %reason, "{} is told about `{id}` later", system.as_str());
                    "pending"
                }
            };
            answers.push(Said {
                system: *system,
                answer,
            });
        }
        Ok(answers)
    }

    /// A system that is left alone, or takes its time, is told later; the error is fixed words.
    async fn align_while_someone_waits(&self, id: &DeviceId, system: System) -> Result<Aligned, &'static str> {
        if self.permit(system) == Permit::Denied {
            return Err("is left alone");
        }
        let aligned = tokio::time::timeout(PATIENCE, self.alignment.align(id, system)).await;
        let aligned = aligned.map_err(|_elapsed| "did not answer in time")?;
        self.heard(system, &aligned);
        aligned.map_err(|error| error.words())
    }

    /// Carries out due orders until told to stop. Each system has its own pace: one that is slow holds up no other.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let systems = join_all(self.systems.iter().map(|(system, _)| self.run_one(*system, &stop)));
        tokio::join!(systems, self.resume_on_timer(&stop));
    }

    async fn resume_on_timer(&self, stop: &CancellationToken) {
        let mut tick = tokio::time::interval(RESUME_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            if let Err(error) = self.resume_enrollments().await {
                let error = error_chain(&error);
                tracing::warn!(error, "Cannot look for enrollments that stopped half way; trying again");
            }
        }
    }

    /// Orders what is missing of enrollments that stopped half way. The device that asks again hears the outcome.
    pub async fn resume_enrollments(&self) -> Result<(), StoreError> {
        let begun_before = self.clock.now() - RESUME_EVERY;
        let count = self.queue.resume_enrollments(begun_before).await?;
        if count > 0 {
            tracing::info!(count, "{count} enrollments that stopped half way go on");
        }
        Ok(())
    }

    async fn run_one(&self, system: System, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let tried = self.run_batch_of(system, ORDER_EVERY).await;
            let tried = tried.unwrap_or_else(|error| {
                tracing::warn!(error = error_chain(&error), "Cannot read the orders; trying again");
                0
            });
            if tried == 0 {
                stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
            }
        }
    }

    /// Carries out all that is due, system by system, as fast as it goes.
    pub async fn run_due(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        for (system, _) in &self.systems {
            while !stop.is_cancelled() && self.run_batch_of(*system, Duration::ZERO).await? > 0 {}
        }
        Ok(())
    }

    /// Carries out what is due of one system, at most a batch; one order, when it is not known to answer. Returns how
    /// many it tried.
    async fn run_batch_of(&self, system: System, order_every: Duration) -> Result<usize, StoreError> {
        let limit = match self.permit(system) {
            Permit::Free => BATCH,
            Permit::Probe => 1,
            Permit::Denied => return Ok(0),
        };
        let jobs = self.queue.claim(system, limit, LEASE).await?;
        let tried = jobs.len();
        self.carry_out_all(jobs, order_every).await?;
        Ok(tried)
    }

    /// Carries out a batch, and ends the orders of it that were carried out together.
    async fn carry_out_all(&self, jobs: Vec<Job>, order_every: Duration) -> Result<(), StoreError> {
        let begun = Instant::now();
        let carried_out = stream::iter((0_u32..).zip(jobs)).map(async |(number, job)| {
            tokio::time::sleep_until(begun + order_every * number).await;
            self.carry_out(job).await
        });
        let carried_out: Vec<_> = carried_out.buffer_unordered(ABREAST).collect().await;
        let (mut done, mut failed) = (Vec::new(), Ok(()));
        for outcome in carried_out {
            match outcome {
                Ok(job) => done.extend(job),
                Err(error) => failed = Err(error),
            }
        }
        self.queue.complete(&done).await?;
        failed
    }

    /// Returns the order when it was carried out.
    async fn carry_out(&self, mut job: Job) -> Result<Option<Job>, StoreError> {
        let system = job.system.as_str();
        let aligned = self.alignment.align(&job.device_id, job.system).await;
        if self.heard(job.system, &aligned) {
            let hastened = self.queue.hasten(job.system).await?;
            tracing::info!(hastened, "{system} is back; {hastened} orders are due at once");
        }
        let error = match aligned {
            Ok(Aligned::Nothing) => return Ok(Some(job)),
            Ok(aligned) => {
                tracing::info!(device.id = %job.device_id, "{system}: {} `{}`", aligned.as_str(), job.device_id);
                return Ok(Some(job));
            }
            Err(error) => error,
        };
        let is_refused = matches!(error, AlignError::Upstream(UpstreamError::Refused { .. }));
        job.refusals += i32::from(is_refused);
        let next = self.next_attempt(&job);
        let detail = error_chain(&error);
        if next.is_some() {
            tracing::warn!(device.id = %job.device_id, job.attempts, error = detail, "{system} has to wait");
        } else {
            tracing::error!(device.id = %job.device_id, job.attempts, error = detail, "Gave up on {system}");
        }
        self.queue.postpone(&job, error.words(), next).await?;
        Ok(None)
    }

    fn permit(&self, system: System) -> Permit {
        let breaker = self.breaker(system);
        breaker.map_or(Permit::Free, |breaker| breaker.permit(self.clock.now()))
    }

    /// Notes whether a system answered; returns whether it is back.
    fn heard<T>(&self, system: System, outcome: &Result<T, AlignError>) -> bool {
        let Some(breaker) = self.breaker(system) else {
            return false;
        };
        match outcome {
            Err(AlignError::Upstream(UpstreamError::Unavailable { .. })) => {
                breaker.was_silent(self.clock.now());
                false
            }
            // Our own fault says nothing about them.
            Err(AlignError::Store(_)) => false,
            Ok(_) | Err(AlignError::Upstream(_)) => breaker.answered(),
        }
    }

    fn breaker(&self, system: System) -> Option<&Breaker> {
        let mut known = self.systems.iter();
        known.find(|(known, _)| *known == system).map(|(_, breaker)| breaker)
    }

    /// Returns when to try again; none when it is time to give up.
    fn next_attempt(&self, job: &Job) -> Option<Timestamp> {
        let now = self.clock.now();
        let is_hopeless = job.refusals >= MAX_REFUSALS;
        (!is_hopeless && now - job.created_at < GIVE_UP_AFTER).then(|| now + wait(job.attempts, random_fraction()))
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Jobs")
            .field("systems", &self.systems())
            .finish_non_exhaustive()
    }
}

/// Doubles from [`FIRST_WAIT`] to [`LONGEST_WAIT`]; the fraction (0 to 1) takes up to half of it away, so that a
/// fleet's orders do not all come back at the same moment.
fn wait(attempts: i32, fraction: f64) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or(0).min(16);
    let full = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    full.mul_f64(1.0 - fraction / 2.0)
}

fn random_fraction() -> f64 {
    let mut byte = [0];
    aws_lc_rs::rand::fill(&mut byte).expect("the operating system gives randomness");
    f64::from(byte[0]) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_hours_and_are_spread() {
        assert_eq!(wait(0, 0.0), FIRST_WAIT);
        assert_eq!(wait(1, 0.0), FIRST_WAIT * 2);
        assert_eq!(wait(1, 1.0), FIRST_WAIT);
        assert_eq!(wait(1000, 0.0), LONGEST_WAIT);
        assert_eq!(wait(-1, 0.0), FIRST_WAIT);
    }
}
