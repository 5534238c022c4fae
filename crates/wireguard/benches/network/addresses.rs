use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::domain::{
    Actor, Application, Clock, DeviceRegistry as _, Digest, EnrollmentTokens as _, GroupName, IdPattern,
    NewEnrollmentToken, SystemClock, TokenPurpose, VpnNetwork, WireguardPrivateKey,
};
use common::store::{Store, StoreOptions};
use tokio::task::JoinSet;

use crate::milliseconds;

const ADDRESSES: u32 = 65_000;
const ENDS: u32 = 100;
const ABREAST: usize = 8;

/// Admits 65,000 devices into a /16: each gets an address in a transaction of its own, with all that belongs to it.
pub(crate) async fn measure(name: &str, url: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite://{}", folder.path().join("bench.db").display());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(url.unwrap_or(&file), StoreOptions::new("bench"), Arc::clone(&clock))
        .await
        .unwrap();
    let network = VpnNetwork::new("10.200.0.0/16".parse().unwrap(), None).unwrap();
    store.ensure_pool(&network).await.unwrap();
    let token = token(&store, &*clock).await;
    let began = Instant::now();
    let first = in_a_row(&store, &token, 0).await;
    fill(&store, &token).await;
    let last = in_a_row(&store, &token, ADDRESSES - ENDS).await;
    println!(
        "{name}: {ADDRESSES} addresses of a /16 in {:.0} s; one of the first {ENDS} {:.2} ms, one of the last {:.2} ms: {:.2} \
         times",
        began.elapsed().as_secs_f64(),
        milliseconds(first),
        milliseconds(last),
        last.as_secs_f64() / first.as_secs_f64()
    );
    store.close().await;
}

/// The median of some admissions, one after the other.
async fn in_a_row(store: &Store, token: &Digest, from: u32) -> Duration {
    let mut times = Vec::new();
    for number in from..from + ENDS {
        let began = Instant::now();
        admit(store, token, number).await;
        times.push(began.elapsed());
    }
    crate::quantiles(times).0
}

async fn fill(store: &Store, token: &Digest) {
    let next = Arc::new(AtomicU32::new(ENDS));
    let mut workers = JoinSet::new();
    for _ in 0..ABREAST {
        let (store, token, next) = (store.clone(), *token, Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= ADDRESSES - ENDS {
                    return;
                }
                admit(&store, &token, number).await;
            }
        });
    }
    workers.join_all().await;
}

async fn admit(store: &Store, token: &Digest, number: u32) {
    let digest = Digest::of(&number.to_le_bytes());
    let application = Application {
        csr_der: digest.0.to_vec(),
        csr_digest: digest,
        key_digest: digest,
        wireguard_key: WireguardPrivateKey::generate().public_key(),
        wireguard_key_is_ours: false,
        device_type: None,
        display_name: None,
    };
    let id = format!("pump-{number}").parse().unwrap();
    store.admit(&id, token, &application).await.unwrap();
}

async fn token(store: &Store, clock: &dyn Clock) -> Digest {
    let token = NewEnrollmentToken {
        secret_hash: Digest::of(b"bench"),
        purpose: TokenPurpose::Enroll,
        id_pattern: IdPattern::parse("*").unwrap(),
        group: GroupName::default(),
        quota: ADDRESSES,
        expires_at: clock.now() + Duration::from_hours(24),
    };
    store.create_token(&token, &Actor::Console).await.unwrap();
    token.secret_hash
}
