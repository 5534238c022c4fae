//! Opening the database, by the scheme of its address.

use std::error::Error;
use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};

use super::transaction::Backend;
use super::{Migrations, OpenError, StoreOptions};

static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Where sqlx notes which migrations were run.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// How long a caller waits for a connection before it hears that the database is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may have been idle to be used without asking whether it is still there.
const TRUSTED_IDLE_TIME: Duration = Duration::from_secs(1);
/// How long SQLite waits for a lock that someone else holds, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The right to a SQLite file. It ends with this value, and not with the last copy of its file: a program that is being
/// started has copies of all files until it begins.
#[derive(Debug)]
pub(super) struct Claim(File);

impl Drop for Claim {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "The database file is free when its last copy is closed");
        }
    }
}

pub(super) async fn connect(url: &str, options: &StoreOptions) -> Result<(Backend, Option<Claim>), OpenError> {
    match url.split_once(':') {
        Some(("sqlite", ":memory:")) => Ok((connect_memory(options).await?, None)),
        Some(("sqlite", path)) => connect_file(path.strip_prefix("//").unwrap_or(path), options).await,
        Some(("postgres" | "postgresql", _)) => Ok((connect_postgres(url, options).await?, None)),
        _ => Err(OpenError::UnknownScheme),
    }
}

async fn connect_memory(options: &StoreOptions) -> Result<Backend, OpenError> {
    let in_memory = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
    let pool = sqlite_pool(1).connect_with(in_memory).await.map_err(unavailable)?;
    let mut connection = pool.acquire().await.map_err(unavailable)?;
    migrate(&SQLITE_MIGRATIONS, &mut *connection, options.migrations).await?;
    drop(connection);
    Ok(Backend::Sqlite {
        readers: pool.clone(),
        writer: pool,
    })
}

async fn connect_file(path: &str, options: &StoreOptions) -> Result<(Backend, Option<Claim>), OpenError> {
    if path.is_empty() {
        return Err(OpenError::InvalidUrl {
            source: "the path of the file is missing".into(),
        });
    }
    let path = Path::new(path);
    let claim = claim(path)?;
    // SQLite gives the files beside the database the database's mode.
    private_file(path).map_err(|source| unusable(path, source))?;

    let file = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full) // or an acknowledged commit can vanish with the power
        .foreign_keys(true)
        // What a statement about many rows may have to undo would go through a temporary file.
        .pragma("temp_store", "MEMORY")
        .busy_timeout(BUSY_TIMEOUT);
    let writer = sqlite_pool(1)
        .connect_with(file.clone())
        .await
        .map_err(|error| open_failure(path, error))?;
    refuse_damage(path, &writer).await?;
    let mut connection = writer.acquire().await.map_err(unavailable)?;
    migrate(&SQLITE_MIGRATIONS, &mut *connection, options.migrations).await?;
    drop(connection);

    let readers = sqlite_pool(options.max_connections.saturating_sub(1).max(1))
        .connect_with(file.pragma("query_only", "ON"))
        .await
        .map_err(unavailable)?;
    Ok((Backend::Sqlite { writer, readers }, Some(claim)))
}

async fn connect_postgres(url: &str, options: &StoreOptions) -> Result<Backend, OpenError> {
    let server = PgConnectOptions::from_str(url).map_err(|error| OpenError::InvalidUrl { source: error.into() })?;
    let server = server.application_name(&options.instance);

    // A migration may take longer than any statement of a request.
    let connecting = tokio::time::timeout(ACQUIRE_TIMEOUT, server.connect());
    let mut connection = connecting.await.map_err(unavailable)?.map_err(unavailable)?;
    migrate(&POSTGRES_MIGRATIONS, &mut connection, options.migrations).await?;
    connection.close().await.map_err(unavailable)?;

    let limits = [
        ("statement_timeout", "10s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "15s"),
        // No statement here is worth being compiled.
        ("jit", "off"),
    ];
    let server = server.options(limits);
    // It finds a few rows by their keys. A plan that is made while a new database is empty would read whole tables, or
    // whole indexes, and is kept while they grow: so rows are dear, and pages are not.
    let by_key = [
        ("cpu_tuple_cost", "1"),
        ("cpu_index_tuple_cost", "1"),
        ("random_page_cost", "1"),
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        // It would not be another plan if it was made for the very values, once for each.
        ("plan_cache_mode", "force_generic_plan"),
    ];
    let by_key = server.clone().options(by_key);
    let committer = postgres_pool(1).connect_with(by_key.clone());
    // Not every process carries orders out.
    let worker = postgres_pool(1).connect_lazy_with(by_key.options([("synchronous_commit", "off")]));
    let others = postgres_pool(options.max_connections.saturating_sub(2).max(1)).connect_with(server);
    Ok(Backend::Postgres {
        committer: committer.await.map_err(unavailable)?,
        worker,
        others: others.await.map_err(unavailable)?,
    })
}

fn postgres_pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, seen| Box::pin(test_if_idle(connection, seen)))
}

/// Asks a connection for a sign of life, unless it gave one a moment ago. One that is dead is replaced.
async fn test_if_idle(connection: &mut PgConnection, seen: PoolConnectionMetadata) -> sqlx::Result<bool> {
    if seen.idle_for < TRUSTED_IDLE_TIME {
        return Ok(true);
    }
    Ok(connection.ping().await.is_ok())
}

/// A SQLite connection lives as long as the store: it costs nothing, and an in-memory database dies with it.
fn sqlite_pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// Keeps a lock beside the database for as long as the file is open; the system frees it with the process.
fn claim(path: &Path) -> Result<Claim, OpenError> {
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let file = private_file(&PathBuf::from(lock_path)).map_err(|source| unusable(path, source))?;
    match file.try_lock() {
        Ok(()) => Ok(Claim(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::AlreadyInUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// Opens or makes a file that only its owner may read.
fn private_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

async fn refuse_damage(path: &Path, pool: &SqlitePool) -> Result<(), OpenError> {
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(pool)
        .await
        .map_err(|error| open_failure(path, error))?;
    if verdict == "ok" {
        Ok(())
    } else {
        Err(OpenError::Damaged { path: path.to_owned() })
    }
}

fn open_failure(path: &Path, error: sqlx::Error) -> OpenError {
    /// `SQLITE_CORRUPT` and `SQLITE_NOTADB`.
    const DAMAGE: [&str; 2] = ["11", "26"];
    let code = error.as_database_error().and_then(DatabaseError::code);
    if code.is_some_and(|code| DAMAGE.contains(&code.as_ref())) {
        return OpenError::Damaged { path: path.to_owned() };
    }
    unavailable(error)
}

async fn migrate<C: Migrate>(migrator: &Migrator, connection: &mut C, policy: Migrations) -> Result<(), OpenError> {
    match policy {
        Migrations::Run => migrator
            .run_direct(None, connection, false)
            .await
            .map_err(migration_failure),
        Migrations::Refuse => refuse_pending(migrator, connection).await,
    }
}

async fn refuse_pending<C: Migrate>(migrator: &Migrator, connection: &mut C) -> Result<(), OpenError> {
    // Without the table of migrations nothing was ever run.
    let Ok(applied) = connection.list_applied_migrations(MIGRATIONS_TABLE).await else {
        return Err(OpenError::PendingMigrations);
    };
    for run in &applied {
        let known = migrator.iter().find(|known| known.version == run.version);
        if known.is_none_or(|known| known.checksum != run.checksum) {
            let source = MigrateError::VersionMismatch(run.version).into();
            return Err(OpenError::ForeignMigrations { source });
        }
    }
    let is_run = |version| applied.iter().any(|run| run.version == version);
    if migrator.iter().all(|known| is_run(known.version)) {
        Ok(())
    } else {
        Err(OpenError::PendingMigrations)
    }
}

fn migration_failure(error: MigrateError) -> OpenError {
    let is_foreign = matches!(
        error,
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) | MigrateError::Dirty(_)
    );
    if is_foreign {
        OpenError::ForeignMigrations { source: error.into() }
    } else {
        unavailable(error)
    }
}

/// A file that cannot be opened or made; often its folder is missing, or belongs to somebody else.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be opened or made", .path.display())]
struct Unusable {
    path: PathBuf,
    source: io::Error,
}

fn unusable(path: &Path, source: io::Error) -> OpenError {
    let path = path.to_owned();
    unavailable(Unusable { path, source })
}

fn unavailable(error: impl Error + Send + Sync + 'static) -> OpenError {
    OpenError::Unavailable {
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_ends_with_its_value_and_not_with_the_last_copy_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bridge.db");
        let first = claim(&path).unwrap();
        let _copy = first.0.try_clone().unwrap();
        assert!(matches!(claim(&path), Err(OpenError::AlreadyInUse { .. })));

        drop(first);

        assert!(claim(&path).is_ok());
    }
}
