//! A device in one process: keys, enrollment, tunnel, terminal. The agent binary runs one, quickstart
//! as many as it is asked for.
//!
//! Each step is a type of its own, so that whoever starts a device can say how far it is:
//! [`Device::prepare`] → [`Device::enroll`] → [`Enrolled::connect`] → [`Connected::serve`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use common::chassis::shutdown::Shutdown;
use common::domain::DeviceId;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use url::Url;
use wireguard::quick::HubEndpoint;

use crate::agents::{Agents, AgentsSettings};
use crate::config::Beside;
use crate::enroll::{self, EnrollError, EnrollSettings, Enrollment};
use crate::identity::{Identity, IdentityError};
use crate::presence::{self, Witness};
use crate::relay::{self, Ends};
use crate::renew::{RenewError, Renewer};
use crate::state::{StateDirectory, StateError};
use crate::terminal::{self, Terminal, TerminalSettings};
use crate::tunnel::{AnyListener, ConnectError, Tunnel, TunnelKind};

/// Why a device does not come up.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its identity cannot be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is not enrolled, and this step does not do it.
    #[error("the device has not enrolled yet")]
    NotEnrolled,
    /// It is not let in.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// Its certificate is not renewed.
    #[error(transparent)]
    Renew(#[from] RenewError),
    /// It does not reach the hub.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The terminal's port of the tunnel is taken.
    #[error("the terminal cannot listen on its port")]
    Listen(#[from] io::Error),
    /// This process is ending.
    #[error("the step was given up because the process ends")]
    Aborted(#[from] JoinError),
}

impl From<StateError> for AgentError {
    fn from(error: StateError) -> Self {
        Self::Identity(error.into())
    }
}

/// A device with keys.
#[derive(Debug)]
pub struct Device {
    state: Arc<StateDirectory>,
    identity: Arc<Identity>,
    enrollment: Option<Enrollment>,
}

impl Device {
    /// Opens the state directory; makes the keys at the first start. `id` may be left out when the
    /// directory has an identity.
    pub async fn prepare(directory: PathBuf, id: Option<DeviceId>) -> Result<Self, AgentError> {
        tokio::task::spawn_blocking(move || {
            let state = StateDirectory::open(directory)?;
            let identity = match id {
                Some(id) => Identity::load_or_create(&state, &id)?,
                None => Identity::load(&state)?,
            };
            let enrollment = Enrollment::load(&state, &identity)?;
            if let Some(enrollment) = &enrollment {
                enrollment.write_copies(&state, &identity)?;
            }
            Ok(Self {
                state: Arc::new(state),
                identity: Arc::new(identity),
                enrollment,
            })
        })
        .await?
    }

    /// Whether it has enrolled before.
    pub fn is_enrolled(&self) -> bool {
        self.enrollment.is_some()
    }

    /// Enrolls, unless that was done before.
    pub async fn enroll(self, settings: &EnrollSettings) -> Result<Enrolled, AgentError> {
        if self.is_enrolled() {
            return self.enrolled();
        }
        self.enroll_again(settings).await
    }

    /// Enrolls, whether or not that was done before: with a return ticket a device comes back with its keys, and whatever
    /// else it had ends.
    pub async fn enroll_again(self, settings: &EnrollSettings) -> Result<Enrolled, AgentError> {
        let enrollment = Arc::new(enroll::enroll(settings, &self.identity).await?);
        let (state, identity, checked) = (
            Arc::clone(&self.state),
            Arc::clone(&self.identity),
            Arc::clone(&enrollment),
        );
        let store = move || {
            checked.store(&state, &identity)?;
            state.remove(Enrollment::NEXT_FILE)
        };
        tokio::task::spawn_blocking(store).await??;
        tracing::info!(device.id = %self.identity.id(), vpn.address = %enrollment.address(), "Enrolled");
        Ok(Enrolled {
            state: self.state,
            identity: self.identity,
            enrollment,
        })
    }

    /// Goes on without enrolling.
    pub fn enrolled(self) -> Result<Enrolled, AgentError> {
        let enrollment = Arc::new(self.enrollment.ok_or(AgentError::NotEnrolled)?);
        Ok(Enrolled {
            state: self.state,
            identity: self.identity,
            enrollment,
        })
    }
}

/// A device with a certificate and an address.
#[derive(Debug)]
pub struct Enrolled {
    state: Arc<StateDirectory>,
    identity: Arc<Identity>,
    enrollment: Arc<Enrollment>,
}

impl Enrolled {
    /// Returns its name.
    pub fn id(&self) -> &DeviceId {
        self.identity.id()
    }

    /// Returns its address in the network.
    pub fn address(&self) -> Ipv4Addr {
        self.enrollment.address()
    }

    /// Returns its certificate, PEM.
    pub fn certificate_pem(&self) -> &str {
        self.enrollment.certificate_pem()
    }

    /// Renews its certificate now, at the bridge of this address.
    pub async fn renew(self, url: Url) -> Result<Self, AgentError> {
        let enrollment = Arc::new(self.renewer(url).renew(&self.enrollment).await?);
        Ok(Self { enrollment, ..self })
    }

    /// Renews its certificate whenever it is time, until `stop`.
    pub fn keep_fresh(&self, url: Url, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        self.renewer(url).keep_fresh(Arc::clone(&self.enrollment), stop)
    }

    /// Keeps the files of the programs beside the agent up to date, until `stop`.
    pub fn keep_agents(
        &self,
        settings: AgentsSettings,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.agents(settings).keep(stop)
    }

    /// Returns the files of the programs beside the agent.
    pub fn agents(&self, settings: AgentsSettings) -> Agents {
        Agents::new(settings, Arc::clone(&self.state), Arc::clone(&self.identity))
    }

    fn renewer(&self, url: Url) -> Renewer {
        Renewer::new(url, Arc::clone(&self.state), Arc::clone(&self.identity))
    }

    /// Brings its tunnel up and waits for the first handshake. `hub` stands in for the hub's public address.
    pub async fn connect(self, hub: Option<&HubEndpoint>) -> Result<Connected, AgentError> {
        let connected = self.bring_up(&TunnelKind::Embedded, hub).await?;
        connected.tunnel.wait_for_hub().await?;
        Ok(connected)
    }

    /// Brings a tunnel of this kind up, and does not wait for the hub.
    pub async fn bring_up(self, kind: &TunnelKind, hub: Option<&HubEndpoint>) -> Result<Connected, AgentError> {
        let tunnel = Tunnel::up(kind, self.state.path(), &self.identity, &self.enrollment, hub).await?;
        Ok(Connected {
            enrolled: self,
            tunnel: Arc::new(tunnel),
        })
    }
}

/// A device that is in the network.
#[derive(Debug)]
pub struct Connected {
    enrolled: Enrolled,
    tunnel: Arc<Tunnel>,
}

impl Connected {
    /// Keeps the tunnel alive until `stop`; the bridge at `url` is told that the device lives, and helps a device that
    /// lost its clock.
    pub fn stay(&self, url: Option<Url>, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let witness = url.map(|url| Witness {
            url,
            state: Arc::clone(&self.enrolled.state),
            identity: Arc::clone(&self.enrolled.identity),
        });
        presence::keep(Arc::clone(&self.tunnel), witness, stop)
    }

    /// Serves as [`serve`](Self::serve), or lets a ttyd on this device do it, and opens ports of the loopback interface
    /// that lead to the same ports of the hub.
    pub async fn serve_with(
        self,
        beside: &Beside,
        terminal: TerminalSettings,
        shutdown: &Shutdown,
    ) -> Result<RunningDevice, AgentError> {
        for port in &beside.hub_ports {
            let passing_on = relay::to_hub(Arc::clone(&self.tunnel), *port, ends(shutdown)).await?;
            shutdown.spawn(passing_on);
        }
        match beside.ttyd {
            Some(ttyd) => self.serve_ttyd(ttyd, shutdown),
            None => self.serve(terminal, shutdown),
        }
    }

    /// Serves its terminal on port 7681 of its address until the process drains: then it takes no new
    /// session and the open ones may go on until the hard stop.
    pub fn serve(self, terminal: TerminalSettings, shutdown: &Shutdown) -> Result<RunningDevice, AgentError> {
        let listener = self.tunnel.listen(terminal::PORT)?;
        let (terminal, Ends { drain, stop }) = (Terminal::new(terminal), ends(shutdown));
        let end = stop.clone();
        let serving = async move {
            match listener {
                AnyListener::Embedded(listener) => terminal.serve(listener, drain, end).await,
                AnyListener::Socket(listener) => terminal.serve(listener, drain, end).await,
            }
        };
        Ok(self.run(serving, stop, shutdown))
    }

    fn serve_ttyd(self, ttyd: SocketAddr, shutdown: &Shutdown) -> Result<RunningDevice, AgentError> {
        let (listener, ends) = (self.tunnel.listen(terminal::PORT)?, ends(shutdown));
        let stop = ends.stop.clone();
        let serving = async move {
            match listener {
                AnyListener::Embedded(listener) => relay::to_program(listener, ttyd, ends).await,
                AnyListener::Socket(listener) => relay::to_program(listener, ttyd, ends).await,
            }
        };
        Ok(self.run(serving, stop, shutdown))
    }

    fn run(
        self,
        serving: impl Future<Output = ()> + Send + 'static,
        stop: CancellationToken,
        shutdown: &Shutdown,
    ) -> RunningDevice {
        let Self { enrolled, tunnel } = self;
        let (id, address) = (enrolled.id().clone(), enrolled.address());
        let span = tracing::info_span!("device", device.id = %id);
        let task = async move {
            serving.await;
            tunnel.close().await;
            drop(enrolled.state); // no other process had the state directory until now
        };
        RunningDevice {
            id,
            address,
            stop,
            task: shutdown.spawn(task.instrument(span)),
        }
    }
}

fn ends(shutdown: &Shutdown) -> Ends {
    Ends {
        drain: shutdown.token(),
        stop: shutdown.hard_token().child_token(),
    }
}

/// A device that serves. Dropping the handle changes nothing: the task belongs to the process.
#[derive(Debug)]
pub struct RunningDevice {
    id: DeviceId,
    address: Ipv4Addr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl RunningDevice {
    /// Returns its name.
    pub fn id(&self) -> &DeviceId {
        &self.id
    }

    /// Returns its address in the network.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Ends its sessions and its tunnel, and waits until they are gone.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "A device ended by a panic");
        }
    }
}

/// All that a device needs to come up by itself.
#[derive(Debug, Clone)]
pub struct DeviceSettings {
    /// Its name.
    pub id: DeviceId,
    /// Where it keeps its identity.
    pub state_directory: PathBuf,
    /// Where it enrolls.
    pub enroll: EnrollSettings,
    /// What stands in for the hub's public address.
    pub hub_endpoint: Option<HubEndpoint>,
    /// How it serves its terminal.
    pub terminal: TerminalSettings,
}

/// All steps in one.
pub async fn start(settings: DeviceSettings, shutdown: &Shutdown) -> Result<RunningDevice, AgentError> {
    let device = Device::prepare(settings.state_directory, Some(settings.id)).await?;
    let enrolled = device.enroll(&settings.enroll).await?;
    let connected = enrolled.connect(settings.hub_endpoint.as_ref()).await?;
    connected.serve(settings.terminal, shutdown)
}
