//! Devices that come at the same time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::domain::{Clock as _, DeviceId, SystemClock, WireguardPrivateKey};
use futures_util::{StreamExt as _, stream};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::json;

use crate::bridge::Bridge;
use crate::client::Connections;
use crate::cpu::{Meter, Program};
use crate::step_ca::StepCa;

/// What was measured, over all rounds.
#[derive(Default)]
pub(crate) struct Figures {
    took: Duration,
    each: Vec<Duration>,
    used: Vec<(&'static str, Duration)>,
}

impl Figures {
    pub(crate) fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let count = self.each.len() as f64;
        count / self.took.as_secs_f64()
    }

    pub(crate) fn percentile(&mut self, percent: usize) -> Duration {
        self.each.sort();
        self.each[(self.each.len() - 1) * percent / 100]
    }

    /// What each program used for one device.
    pub(crate) fn used(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let count = u32::try_from(self.each.len()).unwrap();
        self.used.iter().map(move |(name, time)| (*name, *time / count))
    }

    fn add(&mut self, used: Vec<(&'static str, Duration)>) {
        if self.used.is_empty() {
            self.used = used;
        } else {
            for (sum, (_, time)) in self.used.iter_mut().zip(used) {
                sum.1 += time;
            }
        }
    }
}

/// The devices of one round. Their keys and requests are made before anything is measured.
pub(crate) struct Load {
    connections: Connections,
    concurrency: usize,
    devices: Vec<Arc<Device>>,
}

struct Device {
    id: DeviceId,
    csr_pem: String,
    csr_der: Vec<u8>,
    wireguard_key: String,
}

impl Load {
    pub(crate) fn new(connections: Connections, round: usize, devices: usize, concurrency: usize) -> Self {
        let way = match connections {
            Connections::Own => "own",
            Connections::Kept => "kept",
        };
        let devices = (0..devices).map(|number| Device::new(&format!("device-{way}-{round}-{number}")));
        Self {
            connections,
            concurrency,
            devices: devices.map(Arc::new).collect(),
        }
    }

    /// Has every request signed by step-ca, each with a token of its own, and nothing else.
    pub(crate) async fn direct(&self, authority: &StepCa, figures: &mut Figures) {
        let meter = Meter::start(&[Program::this(), authority.program()]);
        let client = authority.clients.over(self.connections);
        self.run(figures, async |device| {
            let token = authority
                .minter
                .for_signing(&device.id, &device.csr_der, SystemClock.now());
            let body = json!({ "csr": device.csr_pem, "ott": token });
            must_create(client.post(&authority.url).json(&body)).await;
        })
        .await;
        figures.add(meter.stop());
    }

    /// Enrolls every device at the bridge.
    pub(crate) async fn bridge(&self, bridge: &Bridge, others: &[Program], figures: &mut Figures) {
        let meter = Meter::start(&[&[Program::this(), bridge.program()], others].concat());
        let client = bridge.clients.over(self.connections);
        self.run(figures, async |device| {
            let url = format!("{}/{}/enroll", bridge.url, device.id);
            let body = json!({ "csr": device.csr_pem, "wg_public_key": device.wireguard_key });
            must_create(client.post(url).bearer_auth(&bridge.token).json(&body)).await;
        })
        .await;
        figures.add(meter.stop());
    }

    async fn run(&self, figures: &mut Figures, visit: impl AsyncFn(&Device)) {
        let began = Instant::now();
        let visits = stream::iter(&self.devices).map(async |device| {
            let came = Instant::now();
            visit(device).await;
            came.elapsed()
        });
        let each: Vec<Duration> = visits.buffer_unordered(self.concurrency).collect().await;
        figures.took += began.elapsed();
        figures.each.extend(each);
    }
}

impl Device {
    fn new(id: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, id);
        let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
        Self {
            id: DeviceId::parse(id).unwrap(),
            csr_pem: csr.pem().unwrap(),
            csr_der: csr.der().to_vec(),
            wireguard_key: WireguardPrivateKey::generate().public_key().to_base64(),
        }
    }
}

async fn must_create(request: RequestBuilder) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let answer = response.text().await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{answer}");
}
