use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::domain::{CurrentNetwork, VpnNetwork, WireguardKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::protocol::{Answer, Peer, Question, peers};
use super::{CALLS_AT_ONCE, LONGEST_ANSWER};
use crate::hub::{Hub, HubError, HubHealth, PeerConfig, PeerStatus};

/// What the hub process gets for an answer, and in addition for each peer of a question; a little
/// longer than it gives its interface, so that its reason arrives.
const DEADLINE: Duration = Duration::from_secs(6);
const DEADLINE_PER_PEER: Duration = Duration::from_millis(1);

/// The hub of the hub process, seen from another one.
#[derive(Debug)]
pub struct SocketHub {
    path: PathBuf,
    network: CurrentNetwork,
    /// Which hub it is, as it said when it was asked last; a change is meant for that one only.
    identity: Mutex<Option<WireguardKey>>,
    calls: Semaphore,
}

impl SocketHub {
    /// Describes a hub behind a Unix socket; it does not have to be there yet.
    pub fn new(path: impl Into<PathBuf>, network: impl Into<CurrentNetwork>) -> Self {
        Self {
            path: path.into(),
            network: network.into(),
            identity: Mutex::default(),
            calls: Semaphore::new(CALLS_AT_ONCE),
        }
    }

    async fn ask(&self, question: &Question, peers: usize) -> Result<Answer, HubError> {
        let peers = peers.try_into().unwrap_or(u32::MAX);
        let deadline = DEADLINE + DEADLINE_PER_PEER * peers;
        let question = serde_json::to_vec(question).map_err(HubError::unavailable)?;
        let answer = timeout(deadline, self.exchange(question))
            .await
            .map_err(HubError::unavailable)?;
        let answer = answer.map_err(HubError::unavailable)?;
        // Up to 32 MiB: more than what may be read between two other tasks' turns.
        let decode = move || serde_json::from_slice(&answer);
        match tokio::task::spawn_blocking(decode)
            .await
            .map_err(HubError::unavailable)?
        {
            Ok(Answer::Failed(failure)) => Err(failure.into_error(self.network.get())),
            Ok(answer) => Ok(answer),
            Err(error) => Err(HubError::unavailable(error)),
        }
    }

    fn known_identity(&self) -> Option<WireguardKey> {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn exchange(&self, question: Vec<u8>) -> io::Result<Vec<u8>> {
        let _call = self.calls.acquire().await.map_err(io::Error::other)?;
        let mut stream = UnixStream::connect(&self.path).await?;
        stream.write_all(&question).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

#[async_trait]
impl Hub for SocketHub {
    async fn identity(&self) -> Result<WireguardKey, HubError> {
        let Answer::Identity(key) = self.ask(&Question::Identity, 0).await? else {
            return Err(unexpected());
        };
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        Ok(key)
    }

    async fn ensure_peers(&self, peers: &[PeerConfig]) -> Result<(), HubError> {
        let question = Question::Ensure {
            hub: self.known_identity(),
            peers: peers.iter().map(Peer::from).collect(),
        };
        done(self.ask(&question, peers.len()).await?)
    }

    async fn remove_peers(&self, keys: &[WireguardKey]) -> Result<(), HubError> {
        let question = Question::Remove {
            hub: self.known_identity(),
            keys: keys.to_vec(),
        };
        done(self.ask(&question, keys.len()).await?)
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, HubError> {
        let Answer::Peers(list) = self.ask(&Question::Peers, 0).await? else {
            return Err(unexpected());
        };
        peers(list).ok_or_else(|| HubError::unavailable("the hub answered with a peer that cannot be"))
    }

    async fn serve(&self, network: VpnNetwork) -> Result<(), HubError> {
        done(self.ask(&Question::Serve(network.into()), 0).await?)
    }

    async fn health(&self) -> Result<HubHealth, HubError> {
        let Answer::Health { identity, peers } = self.ask(&Question::Health, 0).await? else {
            return Err(unexpected());
        };
        Ok(HubHealth { identity, peers })
    }
}

fn done(answer: Answer) -> Result<(), HubError> {
    if matches!(answer, Answer::Done) {
        Ok(())
    } else {
        Err(unexpected())
    }
}

fn unexpected() -> HubError {
    HubError::unavailable("the hub answered another question")
}
