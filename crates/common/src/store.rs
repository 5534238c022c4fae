//! The only SQL of the project: one [`Store`] for SQLite (one process) and PostgreSQL (any number of them).
//!
//! Every statement is written once and runs on both. One method of a storage port is one transaction, its audit
//! record and its jobs included; the database's own constraints decide races.

mod connect;
mod failures;
mod given;
mod group_commit;
mod statement;
mod transaction;
mod turns;

mod addresses;
mod admission;
mod audit;
mod certificates;
mod changes;
mod device_looks;
mod devices;
mod drift;
mod events;
mod invariants;
mod jobs;
mod life;
mod live;
mod metrics;
mod network_plan;
mod plain_admission;
mod plain_service;
mod processes;
mod registry;
mod renewal;
mod sessions;
mod tickets;
mod token_reads;
mod tokens;
mod updates;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use self::group_commit::CommitQueue;
use self::statement::sql;
use self::token_reads::TokenReads;
use self::transaction::Backend;
use crate::domain::{Clock, StoreError, VpnNetwork};

/// The networks that this process was told to use, by the names of their pools.
type Networks = BTreeSet<String>;

/// The database, behind every storage port of the domain. Cloning it is cheap.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Backend,
    clock: Arc<dyn Clock>,
    instance: Arc<str>,
    address_quarantine: Duration,
    /// Only these give out addresses: the database may know networks of former configurations.
    networks: Mutex<Networks>,
    commits: CommitQueue,
    token_reads: TokenReads,
    /// Keeps other processes away from a SQLite file for as long as this lives.
    _claim: Option<connect::Claim>,
}

/// How to use the database.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The name of this process; each has an audit chain of its own.
    pub instance: String,
    /// How long a decommissioned device's address is not given out again; 24 hours unless told otherwise.
    pub address_quarantine: Duration,
    /// At most so many connections (3 to 1000); 16 unless told otherwise.
    pub max_connections: u32,
    /// What to do when the database's tables are older than this program.
    pub migrations: Migrations,
}

/// What to do with migrations that were not run yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrations {
    /// Run them.
    Run,
    /// Do not start: somebody else runs them, this role may not.
    Refuse,
}

impl StoreOptions {
    /// Describes the usual use by the process of this name.
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            instance: instance.into(),
            address_quarantine: Duration::from_hours(24),
            max_connections: 16,
            migrations: Migrations::Run,
        }
    }
}

/// Why the database cannot be used. All but `Unavailable` stay until a person changes something.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address names no database that we know.
    #[error("the database URL must begin with `sqlite:` or `postgres://`")]
    UnknownScheme,
    /// The address of a known database is malformed.
    #[error("the database URL is malformed")]
    InvalidUrl {
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A SQLite file belongs to one process; several processes need PostgreSQL.
    #[error("another process uses the database file {}; several processes need PostgreSQL", .path.display())]
    AlreadyInUse {
        /// Which file.
        path: PathBuf,
    },
    /// The file is damaged; it is left as it is.
    #[error("the database file {} is damaged", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// The tables are older than this program, and it was told to leave them alone.
    #[error("the database needs migrations that were not run")]
    PendingMigrations,
    /// The tables are newer than this program, or a migration was changed or broke off.
    #[error("the database's migrations are not those of this program")]
    ForeignMigrations {
        /// Which one.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It did not answer, or refused.
    #[error("the database cannot be opened")]
    Unavailable {
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Store {
    /// Opens the database, brings its tables up to date and claims a SQLite file for this process.
    ///
    /// `url` is `sqlite:///absolute/path`, `sqlite://relative/path`, `sqlite::memory:` (for tests) or
    /// `postgres://user@host/database`.
    pub async fn open(url: &str, options: StoreOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        // On the heap: what it takes to open a database is too much to carry along in every future that does.
        let (backend, claim) = Box::pin(connect::connect(url, &options)).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                backend,
                clock,
                instance: options.instance.into(),
                address_quarantine: options.address_quarantine,
                networks: Mutex::default(),
                commits: CommitQueue::default(),
                token_reads: TokenReads::default(),
                _claim: claim,
            }),
        })
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.optional(sql("SELECT 1")).await.map(drop)
    }

    /// Lets a network give out addresses for as long as this process lives.
    fn use_network(&self, network: &VpnNetwork) {
        let mut networks = self.shared.networks.lock().unwrap_or_else(PoisonError::into_inner);
        networks.extend(network.prefixes().map(|prefix| prefix.to_string()));
    }

    fn networks(&self) -> Networks {
        let networks = self.shared.networks.lock().unwrap_or_else(PoisonError::into_inner);
        networks.clone()
    }

    /// Closes every connection once its work is done; a SQLite file's log is written back.
    pub async fn close(&self) {
        self.shared.backend.close().await;
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Store")
            .field("instance", &self.shared.instance)
            .finish_non_exhaustive()
    }
}
