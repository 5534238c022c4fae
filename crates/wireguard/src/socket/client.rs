use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::domain::{VpnNetwork, WireguardKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::protocol::{Answer, Peer, Question, peers};
use super::{CALLS_AT_ONCE, LONGEST_ANSWER};
use crate::hub::{Hub, HubError, HubHealth, PeerConfig, PeerStatus};
use crate::keys::CheckedKeys;

/// What the hub process gets for an answer, and in addition for each peer of a question; a little
/// longer than it gives its interface, so that its reason arrives.
const DEADLINE: Duration = Duration::from_secs(6);
const DEADLINE_PER_PEER: Duration = Duration::from_millis(1);

/// The hub of the hub process, seen from another one.
#[derive(Debug)]
pub struct SocketHub {
    path: PathBuf,
    network: VpnNetwork,
    calls: Semaphore,
    keys: Arc<Mutex<CheckedKeys>>,
}

impl SocketHub {
    /// Describes a hub behind a Unix socket; it does not have to be there yet.
    pub fn new(path: impl Into<PathBuf>, network: VpnNetwork) -> Self {
        Self {
            path: path.into(),
            network,
            calls: Semaphore::new(CALLS_AT_ONCE),
            keys: Arc::default(),
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
            Ok(Answer::Failed(failure)) => Err(failure.into_error(self.network)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(HubError::unavailable(error)),
        }
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
        Ok(key)
    }

    async fn ensure_peers(&self, peers: &[PeerConfig]) -> Result<(), HubError> {
        let question = Question::Ensure(peers.iter().map(Peer::from).collect());
        done(self.ask(&question, peers.len()).await?)
    }

    async fn remove_peers(&self, keys: &[WireguardKey]) -> Result<(), HubError> {
        done(self.ask(&Question::Remove(keys.to_vec()), keys.len()).await?)
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, HubError> {
        let Answer::Peers(list) = self.ask(&Question::Peers, 0).await? else {
            return Err(unexpected());
        };
        let keys = Arc::clone(&self.keys);
        let check = move || peers(list, &mut keys.lock().expect("no reader of a list panics"));
        let checked = tokio::task::spawn_blocking(check)
            .await
            .map_err(HubError::unavailable)?;
        checked.ok_or_else(|| HubError::unavailable("the hub answered with a peer that cannot be"))
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
