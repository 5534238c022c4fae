use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::chassis::shutdown::Shutdown;
use common::domain::{CurrentNetwork, VpnNetwork, WireguardKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::protocol::{Answer, Failure, Question, Status};
use super::{CALLS_AT_ONCE, LONGEST_QUESTION};
use crate::hub::{Hub, HubError, PeerConfig};

/// What a caller gets to write its question, and then to read its answer.
const READING: Duration = Duration::from_secs(5);
const WRITING: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be accepted, for instance for want of a file descriptor.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Who may call, and for which network.
#[derive(Debug, Clone)]
pub struct Callers {
    /// The users whose processes may call; the kernel tells who calls (`SO_PEERCRED`).
    pub uids: BTreeSet<u32>,
    /// The only addresses that a caller can give to a peer.
    pub network: CurrentNetwork,
}

/// The hub process's end of the socket.
#[derive(Debug)]
pub struct HubSocket(UnixListener);

impl HubSocket {
    /// Makes the socket, for its owner and its group (mode 0660); `gid` sets the group.
    ///
    /// What a process that has ended left behind is replaced; a socket that answers is not.
    pub async fn bind(path: &Path, gid: Option<u32>) -> io::Result<Self> {
        match UnixStream::connect(path).await {
            Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => tokio::fs::remove_file(path).await?,
        }
        // Until the mode is set the socket has the process's; who calls is checked in any case.
        let listener = UnixListener::bind(path)?;
        tokio::fs::set_permissions(path, Permissions::from_mode(0o660)).await?;
        if gid.is_some() {
            std::os::unix::fs::chown(path, None, gid)?;
        }
        Ok(Self(listener))
    }

    /// Answers for a hub until the process drains; calls that have begun are finished.
    pub fn serve(self, hub: Arc<dyn Hub>, callers: Callers, shutdown: &Shutdown) {
        let tasks = shutdown.clone();
        shutdown.spawn(self.accept(hub, Arc::new(callers), tasks));
    }

    async fn accept(self, hub: Arc<dyn Hub>, callers: Arc<Callers>, shutdown: Shutdown) {
        let calls = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        let stop = shutdown.token();
        while let Some(accepted) = next(&self.0, &calls, &stop).await {
            let (call, stream) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "Cannot accept a call to the hub");
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let (hub, callers, hard) = (Arc::clone(&hub), Arc::clone(&callers), shutdown.hard_token());
            shutdown.spawn(async move {
                let answer = hard.run_until_cancelled(answer(stream, &*hub, &callers)).await;
                if let Some(Err(error)) = answer {
                    debug!(%error, "A call to the hub was cut off");
                }
                drop(call);
            });
        }
    }
}

/// Accepts a call as soon as there is room for it; nothing if it is time to stop.
async fn next(
    listener: &UnixListener,
    calls: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<io::Result<(OwnedSemaphorePermit, UnixStream)>> {
    let accept = async {
        let call = Arc::clone(calls).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        Ok((call, stream))
    };
    stop.run_until_cancelled(accept).await
}

async fn answer(mut stream: UnixStream, hub: &dyn Hub, callers: &Callers) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    if !callers.uids.contains(&uid) {
        warn!(caller.uid = uid, "Refused a call to the hub by user {uid}");
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut question = Vec::new();
    timeout(READING, (&mut stream).take(LONGEST_QUESTION).read_to_end(&mut question)).await??;
    let network = callers.network.get();
    // A question may have 100,000 keys, and checking one takes as long as a handshake.
    let understand = move || understand(&question, network);
    let answer = match tokio::task::spawn_blocking(understand).await? {
        Ok(call) => call
            .make(hub)
            .await
            .unwrap_or_else(|error| Answer::Failed(Failure::from(error))),
        Err(error) => Answer::Failed(Failure::from(error)),
    };
    let answer = tokio::task::spawn_blocking(move || serde_json::to_vec(&answer)).await??;
    timeout(WRITING, stream.write_all(&answer)).await??;
    stream.shutdown().await
}

/// A question that has been checked.
enum Call {
    Identity,
    Ensure(Option<WireguardKey>, Vec<PeerConfig>),
    Remove(Option<WireguardKey>, Vec<WireguardKey>),
    Peers,
    Serve(VpnNetwork),
    Health,
}

fn understand(question: &[u8], network: VpnNetwork) -> Result<Call, HubError> {
    Ok(match serde_json::from_slice(question).map_err(HubError::unavailable)? {
        Question::Identity => Call::Identity,
        Question::Ensure { hub, peers } => {
            let peers: Option<_> = peers.iter().map(|peer| peer.in_network(network)).collect();
            let peers = peers.ok_or_else(|| HubError::unavailable("an address is not one of a device"))?;
            Call::Ensure(hub, peers)
        }
        Question::Remove { hub, keys } => Call::Remove(hub, keys),
        Question::Peers => Call::Peers,
        Question::Serve(wanted) => Call::Serve(wanted.network().map_err(HubError::unavailable)?),
        Question::Health => Call::Health,
    })
}

/// A caller that knows the hub means no other one.
async fn is_the_one(hub: &dyn Hub, expected: Option<WireguardKey>) -> Result<(), HubError> {
    let Some(expected) = expected else { return Ok(()) };
    let found = hub.identity().await?;
    if found == expected {
        Ok(())
    } else {
        Err(HubError::WrongIdentity { expected, found })
    }
}

impl Call {
    async fn make(self, hub: &dyn Hub) -> Result<Answer, HubError> {
        match self {
            Self::Identity => hub.identity().await.map(Answer::Identity),
            Self::Ensure(expected, peers) => {
                is_the_one(hub, expected).await?;
                hub.ensure_peers(&peers).await.map(|()| Answer::Done)
            }
            Self::Remove(expected, keys) => {
                is_the_one(hub, expected).await?;
                hub.remove_peers(&keys).await.map(|()| Answer::Done)
            }
            Self::Serve(network) => hub.serve(network).await.map(|()| Answer::Done),
            Self::Peers => {
                let peers = hub.peers().await?;
                Ok(Answer::Peers(peers.iter().map(Status::from).collect()))
            }
            Self::Health => hub.health().await.map(Answer::from),
        }
    }
}
