//! Messages of other systems at the rate of a large fleet, on PostgreSQL with its ordinary durability: what is answered
//! 2xx is on the disk, whatever happens to the bridge. It measures: `tests/real/run --release webhooks`.

mod sender;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::domain::{DeviceDirectory as _, DeviceId, DeviceRegistry as _, SystemClock, Timestamp, VpnNetwork};
use common::store::{Migrations, Store, StoreOptions};
use fakes::hawkbit::{Behaviour, FakeHawkbit};
use fakes::thingsboard::FakeThingsBoard;
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use self::sender::{Outcome, Sender};
use crate::failure::{Failure, ensure};
use crate::real::bridge::built;
use crate::real::postgres::Postgres;
use crate::real::process::ServerProcess;
use crate::stage::{Stage, free_port, say};

const DEVICES: usize = 1000;
/// Messages a second, and for how many seconds at a time.
const RATE: u32 = 500;
const SECONDS: u32 = 5;
/// How often messages and bare INSERTs take turns, so that a slow moment of the disk does not meet the one alone, and is
/// not the hundredth part of either: one of a tenth of a second meets fifty messages.
const TURNS: u32 = 6;
/// How long the bridge may take to carry all orders out.
const PATIENCE: Duration = Duration::from_mins(1);
const BURST: usize = 10_000;
const KILLS: u64 = 100;
/// Senders at a time.
const ABREAST: usize = 64;
const SECRET: &str = "the-secret-of-the-rule-chain";

pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    let mut world = stage
        .step("PostgreSQL, a bridge, and a thousand devices", World::new(stage))
        .await?;
    stage.step("five hundred messages a second", world.rate()).await?;
    stage.step("ten thousand at once", world.burst()).await?;
    let told = stage
        .step("the bridge is killed a hundred times", world.killed())
        .await?;
    stage
        .step(
            "nothing that was answered 2xx is missing",
            world.nothing_is_missing(&told),
        )
        .await
}

struct World {
    postgres: Postgres,
    bridge: Option<ServerProcess>,
    sender: Arc<Sender>,
    port: u16,
    hub_port: u16,
    log: std::path::PathBuf,
    home: TempDir,
    thingsboard: FakeThingsBoard,
    hawkbit: FakeHawkbit,
}

/// What was answered 2xx: each message by its device and time.
type Told = BTreeSet<(usize, i64)>;

impl World {
    async fn new(stage: &Stage) -> Result<Self, Failure> {
        let postgres = Postgres::start(stage).await?;
        let store = Store::open(&postgres.url(), StoreOptions::new("stage"), Arc::new(SystemClock)).await?;
        let network = VpnNetwork::new("10.8.0.0/16".parse()?, None)?;
        store.ensure_pool(&network).await?;
        for number in 0..DEVICES {
            fakes::fleet::enroll(&store, &SystemClock, &sender::name(number)).await;
        }
        store.close().await;
        let (thingsboard, hawkbit) = (FakeThingsBoard::start().await, FakeHawkbit::start().await);
        thingsboard.behaves(Behaviour::Good);
        hawkbit.behaves(Behaviour::Good);
        let port = free_port()?;
        let mut world = Self {
            postgres,
            bridge: None,
            sender: Arc::new(Sender::new(port, SECRET)?),
            port,
            hub_port: free_port()?,
            log: stage.log("bridge-webhooks")?,
            home: tempfile::tempdir()?,
            thingsboard,
            hawkbit,
        };
        world.come_back().await?;
        Ok(world)
    }

    async fn come_back(&mut self) -> Result<(), Failure> {
        let mut process = ServerProcess::start("iot-bridge-api", self.command()?, &self.log)?;
        let sender = Arc::clone(&self.sender);
        process
            .until(async || sender.is_answered().await, Duration::from_secs(20))
            .await?;
        self.bridge = Some(process);
        Ok(())
    }

    /// No authority, no hub and no issuer have to answer for this.
    fn command(&self) -> Result<Command, Failure> {
        let mut command = Command::new(built("iot-bridge-api")?);
        command.env_clear().envs([
            ("DATABASE_URL", self.postgres.url()),
            ("BIND", format!("127.0.0.1:{}", self.port)),
            ("WG_PORT", self.hub_port.to_string()),
            (
                "WG_PRIVATE_KEY_FILE",
                self.home.path().join("hub.key").display().to_string(),
            ),
            ("WG_SUBNET", "10.8.0.0/16".to_owned()),
            ("TOKEN_PEPPER", "p".repeat(32)),
            ("STEP_CA_URL", "https://localhost:1".to_owned()),
            ("STEP_CA_FINGERPRINT", "0".repeat(64)),
            (
                "STEP_CA_PROVISIONER_PASSWORD",
                "a password that opens nothing".to_owned(),
            ),
            ("OIDC_ISSUER", "http://127.0.0.1:9/realms/iot".to_owned()),
            ("THINGSBOARD_URL", self.thingsboard.url().to_owned()),
            ("THINGSBOARD_API_KEY", FakeThingsBoard::API_KEY.to_owned()),
            ("THINGSBOARD_WEBHOOK_SECRET", SECRET.to_owned()),
            ("HAWKBIT_URL", self.hawkbit.url().to_owned()),
            ("HAWKBIT_USER", FakeHawkbit::USER.to_owned()),
            ("HAWKBIT_PASSWORD", FakeHawkbit::PASSWORD.to_owned()),
            ("LOG_FILTER", "warn".to_owned()),
        ]);
        Ok(command)
    }

    /// The bare INSERTs have the database for themselves: the bridge has carried everything out before.
    async fn rate(&self) -> Result<(), Failure> {
        self.all_is_carried_out().await?;
        let mut bare = self.postgres.bare_inserts(RATE, SECONDS).await?;
        let mut took = Vec::new();
        for turn in 0..TURNS {
            took.extend(self.messages(turn).await?);
            self.all_is_carried_out().await?;
            bare.extend(self.postgres.bare_inserts(RATE, SECONDS).await?);
        }
        took.sort();
        bare.sort();
        let (ours, theirs) = (percentile(&took, 99), percentile(&bare, 99));
        say(format_args!(
            "  messages: p50 {:?}, p99 {ours:?}; bare INSERT: p50 {:?}, p99 {theirs:?}; {:.2} times",
            percentile(&took, 50),
            percentile(&bare, 50),
            ours.as_secs_f64() / theirs.as_secs_f64()
        ));
        ensure(ours <= theirs * 3, "more than three times a bare INSERT")
    }

    /// Sends messages at the rate. Each time counts from the moment when the message was due, not from when it could
    /// be sent.
    async fn messages(&self, turn: u32) -> Result<Vec<Duration>, Failure> {
        let (sender, runtime) = (Arc::clone(&self.sender), Handle::current());
        // On a thread, because the runtime's timers know whole milliseconds only, and pgbench's know better.
        let sending = tokio::task::spawn_blocking(move || {
            let (begun, mut running) = (Instant::now(), JoinSet::new());
            for number in 0..RATE * SECONDS {
                let due = begun + Duration::from_secs(1) * number / RATE;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let (sender, number) = (Arc::clone(&sender), turn * RATE * SECONDS + number);
                let (device, time) = (number as usize % DEVICES, 1_000_000 + i64::from(number));
                let message = async move { (sender.send(device, time).await, due.elapsed()) };
                running.spawn_on(message, &runtime);
            }
            running
        });
        let running = sending.await?;
        let mut took = Vec::new();
        for (outcome, elapsed) in running.join_all().await {
            ensure(outcome == Outcome::Taken, format_args!("{outcome:?}"))?;
            took.push(elapsed);
        }
        Ok(took)
    }

    async fn all_is_carried_out(&self) -> Result<(), Failure> {
        let began = Instant::now();
        while self.postgres.ask("SELECT count(*) FROM job").await? != "0" {
            ensure(began.elapsed() < PATIENCE, "orders are left")?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    async fn burst(&self) -> Result<(), Failure> {
        let mut running = JoinSet::new();
        for number in 0..BURST {
            let sender = Arc::clone(&self.sender);
            let time = 2_000_000 + i64::try_from(number)?;
            running.spawn(async move { sender.send(number % DEVICES, time).await });
        }
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for outcome in running.join_all().await {
            *counts.entry(format!("{outcome:?}")).or_default() += 1;
        }
        say(format_args!("  {counts:?}"));
        let known = ["Taken", "Later"]
            .iter()
            .filter_map(|it| counts.get(*it))
            .sum::<usize>();
        ensure(known == BURST, "some were answered otherwise, or not at all")
    }

    /// Kills it at any moment while messages come in, and begins again.
    async fn killed(&mut self) -> Result<Told, Failure> {
        let mut told = Told::new();
        for round in 0..KILLS {
            let mut running = JoinSet::new();
            for lane in 0..ABREAST {
                let sender = Arc::clone(&self.sender);
                let first = 3_000_000 + i64::try_from(round)? * 100_000 + i64::try_from(lane)? * 1000;
                running.spawn(async move { sender.send_until_it_fails(lane, first).await });
            }
            // 0 to 250 ms, another number each time (Knuth's multiplicative hash).
            let pause = Duration::from_millis(round.wrapping_mul(2_654_435_761) % 250);
            tokio::time::sleep(pause).await;
            if let Some(bridge) = self.bridge.take() {
                bridge.kill().await?;
            }
            told.extend(running.join_all().await.into_iter().flatten());
            self.come_back().await?;
        }
        say(format_args!("  {} messages were answered 2xx", told.len()));
        Ok(told)
    }

    /// What is told again is a duplicate, and every device's last connection is the last that was told of it.
    async fn nothing_is_missing(&self, told: &Told) -> Result<(), Failure> {
        let mut latest: BTreeMap<usize, i64> = BTreeMap::new();
        for (device, time) in told {
            let outcome = self.sender.send(*device, *time).await;
            ensure(
                outcome == Outcome::KnownBefore,
                format_args!("{device} {time}: {outcome:?}"),
            )?;
            latest.insert(*device, *time);
        }
        let mut options = StoreOptions::new("stage");
        options.migrations = Migrations::Refuse;
        let store = Store::open(&self.postgres.url(), options, Arc::new(SystemClock)).await?;
        for (number, time) in latest {
            let device = store.find(&DeviceId::parse(&sender::name(number))?).await?;
            let seen = device
                .and_then(|device| device.last_connected_at)
                .map(Timestamp::unix_timestamp);
            // One that was not answered may have been recorded all the same.
            ensure(
                seen >= Some(time),
                format_args!("{number}: {seen:?}, and {time} was told"),
            )?;
        }
        store.close().await;
        Ok(())
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted
        .get((sorted.len().saturating_sub(1)) * percent / 100)
        .copied()
        .unwrap_or_default()
}

/// What a status means for whoever sent the message.
fn outcome(status: StatusCode, body: &serde_json::Value) -> Outcome {
    match status {
        StatusCode::OK if body["status"] == "duplicate" => Outcome::KnownBefore,
        StatusCode::OK | StatusCode::ACCEPTED => Outcome::Taken,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Outcome::Later,
        status => Outcome::Else(status.as_u16()),
    }
}
