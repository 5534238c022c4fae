//! What keeping the neighbours told costs: a comparison of ten thousand devices with both, and messages recorded at a
//! fixed rate.
//!
//! `cargo bench -p iot-bridge-api -- --database URL`; without it a SQLite file.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops at its first surprise"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use common::chassis::http_client::{self, HttpClientOptions};
use common::domain::{
    Actor, Application, Clock, DeviceId, DeviceRegistry, Digest, EnrollmentTokens, EventOutcome, GroupName, IdPattern,
    IssuedCertificate, NewEnrollmentToken, PlatformEventKind, System, SystemClock, TokenPurpose, VpnNetwork,
    WireguardPrivateKey,
};
use common::store::{Store, StoreOptions};
use fakes::hawkbit::{Behaviour, FakeHawkbit};
use fakes::thingsboard::FakeThingsBoard;
use iot_bridge_api::adapters::hawkbit::{Hawkbit, HawkbitOptions};
use iot_bridge_api::adapters::thingsboard::{ThingsBoard, ThingsBoardLogin, ThingsBoardOptions};
use iot_bridge_api::app::events::{Events, ReportedEvent};
use iot_bridge_api::app::neighbours::Neighbours;
use iot_bridge_api::app::sweep::{Sweep, SweepParts};
use iot_bridge_api::app::updates::Updates;
use tokio::task::JoinSet;

#[derive(Parser)]
struct Arguments {
    /// The database; a SQLite file unless set.
    #[arg(long)]
    database: Option<String>,
    /// How many devices are compared.
    #[arg(long, default_value_t = 10_000)]
    devices: usize,
    /// How many messages come in a second, for ten seconds.
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// Cargo says this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", folder.path().join("bench.db").display());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let url = arguments.database.unwrap_or(file);
    let store = Store::open(&url, StoreOptions::new("bench"), clock.clone())
        .await
        .unwrap();
    enroll(&store, arguments.devices).await;
    messages(&store, &clock, arguments.rate).await;
    comparison(&store, &clock, arguments.devices).await;
}

/// Records messages of different devices at a fixed rate, whether the ones before are done or not.
async fn messages(store: &Store, clock: &Arc<dyn Clock>, rate: u32) {
    let systems = vec![System::DevicePlatform, System::UpdateServer];
    let events = Arc::new(Events::new(Arc::new(store.clone()), clock.clone(), systems));
    let (mut tick, mut running) = (tokio::time::interval(Duration::from_secs(1) / rate), JoinSet::new());
    for number in 0..rate * 10 {
        tick.tick().await;
        let (events, due) = (Arc::clone(&events), Instant::now());
        running.spawn(async move {
            let event = ReportedEvent {
                digest: Digest::of(&number.to_be_bytes()),
                device_id: id(number as usize),
                kind: PlatformEventKind::Connected,
                happened_at: None,
            };
            assert_ne!(events.record(event).await.unwrap(), EventOutcome::Duplicate);
            due.elapsed()
        });
    }
    let mut took = running.join_all().await;
    took.sort();
    let percentile = |percent: usize| took[(took.len() - 1) * percent / 100];
    println!(
        "messages at {rate}/s: p50 {:?}, p99 {:?}, longest {:?}",
        percentile(50),
        percentile(99),
        percentile(100)
    );
}

async fn comparison(store: &Store, clock: &Arc<dyn Clock>, devices: usize) {
    let (thingsboard, hawkbit) = (FakeThingsBoard::start().await, FakeHawkbit::start().await);
    thingsboard.behaves(Behaviour::Good);
    hawkbit.behaves(Behaviour::Good);
    let sweep = sweep(store, clock, &thingsboard, &hawkbit);
    for number in 0..devices {
        thingsboard.change(id(number).as_str(), |_| {});
        hawkbit.change(id(number).as_str(), |_| {});
    }
    let before = peak_memory();
    let began = Instant::now();
    let ordered = sweep.sweep().await;
    println!(
        "comparison of {devices} devices with both, all wrong: {:?}, {ordered} repairs ordered, {} requests, peak memory {} MiB (before {before} MiB)",
        began.elapsed(),
        thingsboard.requests() + hawkbit.requests(),
        peak_memory(),
    );
}

fn sweep(store: &Store, clock: &Arc<dyn Clock>, thingsboard: &FakeThingsBoard, hawkbit: &FakeHawkbit) -> Sweep {
    let (client, database) = (
        http_client::build(&HttpClientOptions::default()).unwrap(),
        Arc::new(store.clone()),
    );
    let platform = ThingsBoardOptions {
        url: thingsboard.url().parse().unwrap(),
        login: ThingsBoardLogin::ApiKey(FakeThingsBoard::API_KEY.into()),
        profile: "iot-bridge".to_owned(),
    };
    let updates = HawkbitOptions {
        url: hawkbit.url().parse().unwrap(),
        user: FakeHawkbit::USER.to_owned(),
        password: FakeHawkbit::PASSWORD.into(),
    };
    Sweep::new(SweepParts {
        directory: database.clone(),
        ledger: database.clone(),
        inbox: database.clone(),
        neighbours: Arc::new(Neighbours::new(
            Some(Arc::new(ThingsBoard::new(client.clone(), platform))),
            Some(Arc::new(Hawkbit::new(client, updates))),
            database.clone(),
            database.clone(),
        )),
        updates: Arc::new(Updates::new(None, database, Vec::new(), clock.clone())),
        clock: clock.clone(),
    })
}

/// Brings devices into service without asking anyone.
async fn enroll(store: &Store, devices: usize) {
    let began = Instant::now();
    let network = VpnNetwork::new("10.8.0.0/16".parse().unwrap(), None).unwrap();
    store.ensure_pool(&network).await.unwrap();
    let token = NewEnrollmentToken {
        secret_hash: Digest::of(b"the token of the bench"),
        purpose: TokenPurpose::Enroll,
        id_pattern: IdPattern::parse("*").unwrap(),
        group: GroupName::default(),
        quota: u32::try_from(devices).unwrap(),
        expires_at: SystemClock.now() + Duration::from_hours(1),
    };
    store.create_token(&token, &Actor::Console).await.unwrap();
    for number in 0..devices {
        let digest = Digest::of(format!("device {number}").as_bytes());
        let application = Application {
            csr_der: digest.0.to_vec(),
            csr_digest: digest,
            key_digest: digest,
            wireguard_key: WireguardPrivateKey::generate().public_key(),
            wireguard_key_is_ours: false,
            device_type: None,
            display_name: None,
        };
        let admission = store
            .admit(&id(number), &token.secret_hash, &application)
            .await
            .unwrap();
        let now = SystemClock.now();
        let issued = IssuedCertificate {
            serial: digest.to_string(),
            leaf_pem: digest.to_string(),
            ca_chain_pem: String::new(),
            intermediates: 1,
            not_before: now,
            not_after: now + Duration::from_hours(24),
        };
        store.record_certificate(&admission.intent, &issued).await.unwrap();
        store.mark_enrolled(&id(number), &[]).await.unwrap();
    }
    println!("{devices} devices in service after {:?}", began.elapsed());
}

fn id(number: usize) -> DeviceId {
    DeviceId::parse(&format!("device-{number}")).unwrap()
}

/// The most memory that this process ever had, in MiB (`proc(5)`).
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}
