//! Where the scenarios run: a fresh database each.

use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;

/// A fresh, empty database.
pub(crate) trait TestDatabase: Sized {
    async fn create() -> Self;

    /// The address to open it at.
    fn url(&self) -> &str;

    /// Runs a statement past the store, as a person with a console would.
    async fn tamper(&self, statement: &'static str);

    /// Asks for one number past the store.
    async fn count(&self, query: &'static str) -> i64;

    /// Lists `table.column` of every table and view.
    async fn columns(&self) -> Vec<String>;

    async fn remove(self);
}

/// A SQLite file in a folder of its own.
pub(crate) struct SqliteFile {
    pub(crate) folder: TempDir,
    url: String,
}

impl SqliteFile {
    async fn connect(&self) -> SqliteConnection {
        let path = self.folder.path().join("bridge.db");
        sqlx::sqlite::SqliteConnectOptions::new()
            .filename(path)
            .connect()
            .await
            .unwrap()
    }
}

impl TestDatabase for SqliteFile {
    async fn create() -> Self {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}", folder.path().join("bridge.db").display());
        Self { folder, url }
    }

    fn url(&self) -> &str {
        &self.url
    }

    async fn tamper(&self, statement: &'static str) {
        let mut connection = self.connect().await;
        sqlx::query("PRAGMA foreign_keys = OFF")
            .execute(&mut connection)
            .await
            .unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn count(&self, query: &'static str) -> i64 {
        let mut connection = self.connect().await;
        let count = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    async fn columns(&self) -> Vec<String> {
        let mut connection = self.connect().await;
        let columns = sqlx::query_scalar(
            "SELECT tables.name || '.' || columns.name
             FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
             WHERE tables.type IN ('table', 'view') AND tables.name NOT LIKE '\\_%' ESCAPE '\\'
             ORDER BY 1",
        );
        let columns = columns.fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        columns
    }

    async fn remove(self) {
        self.folder.close().unwrap();
    }
}

#[cfg(feature = "postgres-tests")]
pub(crate) use postgres::PostgresSchema;

#[cfg(feature = "postgres-tests")]
mod postgres {
    use std::str::FromStr;

    use sqlx::postgres::{PgConnectOptions, PgConnection};
    use sqlx::{ConnectOptions, Connection};
    use uuid::Uuid;

    use super::TestDatabase;

    /// A schema of its own in the database at `TEST_POSTGRES_URL`.
    pub(crate) struct PostgresSchema {
        name: String,
        url: String,
    }

    impl TestDatabase for PostgresSchema {
        async fn create() -> Self {
            let name = format!("test_{}", Uuid::now_v7().simple());
            execute(&server_url(), format!("CREATE SCHEMA {name}")).await;
            let url = server_url();
            let separator = if url.contains('?') { '&' } else { '?' };
            Self {
                url: format!("{url}{separator}options[search_path]={name}"),
                name,
            }
        }

        fn url(&self) -> &str {
            &self.url
        }

        async fn tamper(&self, statement: &'static str) {
            // Foreign keys are triggers, which this switches off.
            execute(
                &self.url,
                "SET session_replication_role = replica; ".to_owned() + statement,
            )
            .await;
        }

        async fn count(&self, query: &'static str) -> i64 {
            let mut connection = connect(&self.url).await;
            let count = sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            count
        }

        async fn columns(&self) -> Vec<String> {
            let mut connection = connect(&self.url).await;
            let columns = sqlx::query_scalar(
                "SELECT table_name || '.' || column_name FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name NOT LIKE '\\_%'",
            );
            let mut columns: Vec<String> = columns.fetch_all(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            columns.sort();
            columns
        }

        async fn remove(self) {
            execute(&server_url(), format!("DROP SCHEMA {} CASCADE", self.name)).await;
        }
    }

    impl PostgresSchema {
        /// Runs a script of ours as the owner of the tables.
        pub(crate) async fn run(&self, script: &'static str) {
            execute(&self.url, script.to_owned()).await;
        }

        /// Whether a role may not do something.
        pub(crate) async fn is_refused_to(&self, role: &str, statement: &'static str) -> bool {
            let mut connection = connect(&self.url_as(role)).await;
            let outcome = sqlx::raw_sql(statement).execute(&mut connection).await;
            let code = outcome
                .err()
                .and_then(|error| error.as_database_error()?.code().map(String::from));
            connection.close().await.unwrap();
            code.as_deref() == Some("42501") // insufficient_privilege
        }

        /// The address at which a session has only the rights of a role.
        pub(crate) fn url_as(&self, role: &str) -> String {
            format!("{}&options[role]={role}", self.url)
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    fn server_url() -> String {
        std::env::var("TEST_POSTGRES_URL")
            .expect("the feature `postgres-tests` needs the address of a PostgreSQL server in TEST_POSTGRES_URL")
    }

    async fn connect(url: &str) -> PgConnection {
        PgConnectOptions::from_str(url).unwrap().connect().await.unwrap()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "only the tests' own schema names are put together"
    )]
    async fn execute(url: &str, statements: String) {
        let mut connection = connect(url).await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }
}
