use async_trait::async_trait;

use super::{Digest, StoreError, Timestamp};

/// A person's request that one process of terminal-proxy hands to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardPass {
    /// Which process it is for.
    pub instance: String,
    /// From which address the person asks.
    pub client_address: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The processes of terminal-proxy that share a database.
#[async_trait]
pub trait ProxyProcesses: Send + Sync + 'static {
    /// Says that a process lives at least until then, and where the others reach it; none when they cannot.
    async fn announce(&self, instance: &str, url: Option<&str>, alive_until: Timestamp) -> Result<(), StoreError>;

    /// Finds where a living process is reached.
    async fn process_url(&self, instance: &str) -> Result<Option<String>, StoreError>;

    /// Closes the records of sessions whose process has not been heard of in time; returns how many.
    async fn close_sessions_of_the_dead(&self) -> Result<u64, StoreError>;

    /// Records a pass under the hash of its secret; removes those that ended.
    async fn issue_pass(&self, secret: &Digest, pass: &ForwardPass) -> Result<(), StoreError>;

    /// Takes a pass out; none when it is unknown, used, ended, or for another process.
    async fn redeem_pass(&self, secret: &Digest, instance: &str) -> Result<Option<ForwardPass>, StoreError>;
}
