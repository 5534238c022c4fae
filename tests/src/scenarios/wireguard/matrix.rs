use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use common::domain::VpnNetwork;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::device::Device;
use super::namespace::Namespace;
use super::{CLOSED_DEVICE_PORTS, CLOSED_HUB_PORTS, METRICS_PORT, TERMINAL_PORT, TERMINAL_UID, list};
use crate::failure::{Failure, ensure};

/// How long a connection may take that shall come about: time for a second attempt.
const OPEN: Duration = Duration::from_millis(2500);

/// How long to wait for one that shall not.
const CLOSED: Duration = Duration::from_millis(700);

/// Who reaches whom.
pub(super) struct Matrix<'world> {
    pub(super) hub: &'world Arc<Namespace>,
    pub(super) outsider: &'world Arc<Namespace>,
    pub(super) devices: &'world [Device],
    pub(super) network: VpnNetwork,
}

/// One way from somebody to a port.
pub(super) struct Way {
    from: Arc<Namespace>,
    uid: u32,
    to: SocketAddrV4,
    shall_be_open: bool,
}

impl Matrix<'_> {
    /// Tries every way there is.
    pub(super) async fn holds(&self) -> Result<(), Failure> {
        let ways = self.open_ways().into_iter().chain(self.closed_ways());
        let mut attempts: JoinSet<_> = ways.map(|way| async move { way.holds().await.err() }).collect();
        let mut offences = Vec::new();
        while let Some(offence) = attempts.join_next().await {
            offences.extend(offence?);
        }
        ensure(offences.is_empty(), list(offences.iter().map(ToString::to_string)))
    }

    /// Waits until every way that shall be open is.
    pub(super) async fn open_ways_work(&self, within: Duration) -> Result<(), Failure> {
        let mut attempts: JoinSet<_> = self.open_ways().into_iter().map(|way| way.opens(within)).collect();
        while let Some(result) = attempts.join_next().await {
            result??;
        }
        Ok(())
    }

    /// Waits until everybody reaches what only the rules keep from them.
    pub(super) async fn opened_for_all(&self, within: Duration) -> Result<(), Failure> {
        let mut ways = Vec::new();
        for device in self.devices {
            ways.push(Way::new(
                &device.namespace,
                0,
                (self.network.hub(), CLOSED_HUB_PORTS[0]),
                true,
            ));
            ways.push(Way::new(
                self.hub,
                0,
                (device.address.ip(), CLOSED_DEVICE_PORTS[0]),
                true,
            ));
        }
        let mut attempts: JoinSet<_> = ways.into_iter().map(|way| way.opens(within)).collect();
        while let Some(result) = attempts.join_next().await {
            result??;
        }
        Ok(())
    }

    fn open_ways(&self) -> Vec<Way> {
        let each = |device: &Device| {
            [
                Way::new(self.hub, TERMINAL_UID, (device.address.ip(), TERMINAL_PORT), true),
                Way::new(&device.namespace, 0, (self.network.hub(), METRICS_PORT), true),
            ]
        };
        self.devices.iter().flat_map(each).collect()
    }

    fn closed_ways(&self) -> Vec<Way> {
        let hub = self.network.hub();
        let mut ways = Vec::new();
        for device in self.devices {
            let address = device.address.ip();
            let all_ports = CLOSED_DEVICE_PORTS.into_iter().chain([TERMINAL_PORT]);
            for port in all_ports {
                let neighbours = self
                    .devices
                    .iter()
                    .filter(|neighbour| neighbour.address != device.address);
                ways.extend(neighbours.map(|from| Way::new(&from.namespace, 0, (address, port), false)));
                ways.push(Way::new(self.outsider, 0, (address, port), false));
                ways.push(Way::new(self.hub, 0, (address, port), false));
                ways.push(Way::new(self.hub, 1000, (address, port), false));
            }
            let as_terminal = |port| Way::new(self.hub, TERMINAL_UID, (address, port), false);
            ways.extend(CLOSED_DEVICE_PORTS.map(as_terminal));
            ways.extend(CLOSED_HUB_PORTS.map(|port| Way::new(&device.namespace, 0, (hub, port), false)));
        }
        let from_outside = CLOSED_HUB_PORTS.into_iter().chain([METRICS_PORT]);
        ways.extend(from_outside.map(|port| Way::new(self.outsider, 0, (hub, port), false)));
        ways
    }
}

impl Way {
    pub(super) fn new(from: &Arc<Namespace>, uid: u32, (host, port): (Ipv4Addr, u16), shall_be_open: bool) -> Self {
        Self {
            from: Arc::clone(from),
            uid,
            to: SocketAddrV4::new(host, port),
            shall_be_open,
        }
    }

    /// Tries it once.
    pub(super) async fn holds(self) -> Result<(), Failure> {
        let within = if self.shall_be_open { OPEN } else { CLOSED };
        let result = self.from.connect(self.uid, self.to, within).await;
        let Self {
            from,
            uid,
            to,
            shall_be_open,
        } = self;
        let found = match &result {
            Ok(_) => "reaches".to_owned(),
            Err(error) => format!("does not reach ({error})"),
        };
        ensure(
            result.is_ok() == shall_be_open,
            format_args!("user {uid} in {} {found} {to}", from.name()),
        )
    }

    /// Tries it until it is open.
    async fn opens(self, within: Duration) -> Result<(), Failure> {
        let began = Instant::now();
        let open = async {
            while self
                .from
                .connect(self.uid, self.to, Duration::from_millis(250))
                .await
                .is_err()
            {
                // A refusal comes at once.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let Self { from, uid, to, .. } = &self;
        let in_time = timeout(within, open).await;
        in_time.map_err(|_| {
            let waited = began.elapsed().as_secs();
            Failure::new(format_args!(
                "user {uid} in {} did not reach {to} in {waited} s",
                from.name()
            ))
        })
    }
}
