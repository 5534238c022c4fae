//! A statement, what is bound to it and what it returns, the same for both databases.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};
use uuid::Uuid;

use super::given::{self, Texts};
use crate::domain::{
    CertificateState, DeviceId, DeviceState, Digest, DriftKind, GroupName, IdPattern, JobAction, JobState,
    PlatformEventKind, SessionId, StoreError, System, TerminalPurpose, Timestamp, TokenPurpose, UpdateStatus,
    WireguardKey,
};

/// What locks rows.
const LOCK: &str = " FOR UPDATE";

/// Begins a statement. The text is whole, and the same for both databases; ` FOR UPDATE…` at its end locks rows on
/// PostgreSQL and is left out on SQLite, where a writer is alone anyway.
pub(super) fn sql(text: &'static str) -> Statement {
    let (sqlite, postgres) = (text, text);
    Statement {
        texts: Texts { sqlite, postgres },
        values: Values::default(),
        rows: Vec::new(),
    }
}

/// Begins a statement about the rows of `given`, written with [`sql_given`](super::given::sql_given). At least one is
/// needed.
pub(super) fn sql_about(texts: Texts, rows: Vec<Values>) -> Statement {
    debug_assert!(!rows.is_empty(), "PostgreSQL cannot tell the types of no values");
    Statement {
        texts,
        values: Values::default(),
        rows,
    }
}

/// SQL with its values, in the order of `$1`, `$2`, …, or its rows.
#[derive(Debug)]
pub(super) struct Statement {
    texts: Texts,
    values: Values,
    rows: Vec<Values>,
}

impl Statement {
    pub(super) fn bind<T: Column>(mut self, value: &T) -> Self {
        self.values = self.values.bind(value);
        self
    }

    pub(super) fn bind_optional<T: Column>(mut self, value: Option<&T>) -> Self {
        self.values = self.values.bind_optional(value);
        self
    }

    pub(super) fn bind_text(mut self, value: &str) -> Self {
        self.values.0.push(Value::Text(Some(value.to_owned())));
        self
    }

    pub(super) fn into_sqlite(self) -> Query<'static, Sqlite, SqliteArguments> {
        let text = self.texts.sqlite;
        let query = sqlx::query(text.split_once(LOCK).map_or(text, |(unlocked, _)| unlocked));
        if !self.rows.is_empty() {
            return query.bind(given::to_json(&self.rows));
        }
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Integer(integer) => query.bind(integer),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    }

    pub(super) fn into_postgres(self) -> Query<'static, Postgres, PgArguments> {
        let query = sqlx::query(self.texts.postgres);
        if !self.rows.is_empty() {
            return given::bind_columns(query, self.rows);
        }
        self.values.into_iter().fold(query, |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Integer(integer) => query.bind(integer),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    }
}

/// Begins a row of `given`.
pub(super) fn row() -> Values {
    Values::default()
}

/// Values in their order.
#[derive(Debug, Default)]
pub(super) struct Values(Vec<Value>);

impl Values {
    pub(super) fn bind<T: Column>(self, value: &T) -> Self {
        self.bind_optional(Some(value))
    }

    pub(super) fn bind_optional<T: Column>(mut self, value: Option<&T>) -> Self {
        self.0.push(T::Raw::into_value(value.map(T::to_raw)));
        self
    }

    pub(super) fn bind_owned(mut self, text: String) -> Self {
        self.0.push(Value::Text(Some(text)));
        self
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter()
    }
}

impl IntoIterator for Values {
    type Item = Value;
    type IntoIter = std::vec::IntoIter<Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What can be bound; a null has a type, because PostgreSQL asks for it.
#[derive(Debug)]
pub(super) enum Value {
    Text(Option<String>),
    Integer(Option<i64>),
    Bytes(Option<Vec<u8>>),
}

impl Value {
    pub(super) fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => text,
            Self::Integer(_) | Self::Bytes(_) => None,
        }
    }

    pub(super) fn into_integer(self) -> Option<i64> {
        match self {
            Self::Integer(integer) => integer,
            Self::Text(_) | Self::Bytes(_) => None,
        }
    }

    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Text(_) | Self::Integer(_) => None,
        }
    }
}

/// A row of either database.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// Reads a column that is never null.
    pub(super) fn get<T: Column>(&self, column: &'static str) -> Result<T, StoreError> {
        self.optional(column)?.ok_or(StoreError::Corrupt { column })
    }

    /// Reads what a condition among the columns says: each database has its own type for it.
    pub(super) fn get_flag(&self, column: &'static str) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| StoreError::Corrupt { column })
    }

    /// Reads a column that may be null.
    pub(super) fn optional<T: Column>(&self, column: &'static str) -> Result<Option<T>, StoreError> {
        let raw: Option<T::Raw> = match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
        .map_err(|_| StoreError::Corrupt { column })?;
        raw.map(|raw| T::from_raw(raw).ok_or(StoreError::Corrupt { column }))
            .transpose()
    }
}

/// A type of column that both databases have.
pub(super) trait Raw:
    Type<Sqlite> + Type<Postgres> + for<'r> Decode<'r, Sqlite> + for<'r> Decode<'r, Postgres>
{
    fn into_value(raw: Option<Self>) -> Value;
}

impl Raw for String {
    fn into_value(raw: Option<Self>) -> Value {
        Value::Text(raw)
    }
}

impl Raw for i64 {
    fn into_value(raw: Option<Self>) -> Value {
        Value::Integer(raw)
    }
}

impl Raw for Vec<u8> {
    fn into_value(raw: Option<Self>) -> Value {
        Value::Bytes(raw)
    }
}

/// A word of the domain as it is stored.
pub(super) trait Column: Sized {
    type Raw: Raw;

    fn to_raw(&self) -> Self::Raw;

    /// Reads the stored form; none when this program never writes it.
    fn from_raw(raw: Self::Raw) -> Option<Self>;
}

macro_rules! columns {
    ($($word:ty as $raw:ty: $to_raw:expr, $from_raw:expr;)*) => {
        $(impl Column for $word {
            type Raw = $raw;

            fn to_raw(&self) -> $raw {
                let to_raw: fn(&Self) -> $raw = $to_raw;
                to_raw(self)
            }

            fn from_raw(raw: $raw) -> Option<Self> {
                let from_raw: fn($raw) -> Option<Self> = $from_raw;
                from_raw(raw)
            }
        })*
    };
}

columns! {
    String as String: Self::clone, Some;
    DeviceId as String: |id| id.as_str().to_owned(), |text| Self::parse(&text).ok();
    GroupName as String: |name| name.as_str().to_owned(), |text| Self::parse(&text).ok();
    IdPattern as String: |pattern| pattern.as_str().to_owned(), |text| Self::parse(&text).ok();
    Uuid as String: Self::to_string, |text| Self::parse_str(&text).ok();
    SessionId as String: |id| id.0.to_string(), |text| Uuid::parse_str(&text).ok().map(SessionId);
    DeviceState as String: |state| state.as_str().to_owned(), |text| Self::parse(&text);
    CertificateState as String: |state| state.as_str().to_owned(), |text| Self::parse(&text);
    TerminalPurpose as String: |purpose| purpose.as_str().to_owned(), |text| Self::parse(&text);
    TokenPurpose as String: |purpose| purpose.as_str().to_owned(), |text| Self::parse(&text);
    System as String: |system| system.as_str().to_owned(), |text| Self::parse(&text);
    JobAction as String: |action| action.as_str().to_owned(), |text| Self::parse(&text);
    JobState as String: |state| state.as_str().to_owned(), |text| Self::parse(&text);
    PlatformEventKind as String: |kind| kind.as_str().to_owned(), |text| Self::parse(&text);
    UpdateStatus as String: |status| status.as_str().to_owned(), |text| Self::parse(&text);
    DriftKind as String: |kind| kind.as_str().to_owned(), |text| Self::parse(&text);
    Ipv4Net as String: Self::to_string, |text| text.parse().ok();
    serde_json::Value as String: Self::to_string, |text| serde_json::from_str(&text).ok();
    i64 as i64: |integer| *integer, Some;
    i32 as i64: |integer| i64::from(*integer), |raw| raw.try_into().ok();
    u32 as i64: |integer| i64::from(*integer), |raw| raw.try_into().ok();
    u8 as i64: |integer| i64::from(*integer), |raw| raw.try_into().ok();
    SocketAddr as String: Self::to_string, |text| text.parse().ok();
    bool as i64: |flag| i64::from(*flag), |raw| (0..=1).contains(&raw).then_some(raw == 1);
    Ipv4Addr as i64: |address| i64::from(u32::from(*address)), |raw| u32::try_from(raw).ok().map(Self::from);
    Timestamp as i64: |time| milliseconds(*time), timestamp;
    Vec<u8> as Vec<u8>: Self::clone, Some;
    Digest as Vec<u8>: |digest| digest.0.to_vec(), |bytes| bytes.try_into().ok().map(Self);
    WireguardKey as Vec<u8>: |key| key.as_bytes().to_vec(), |bytes| Self::from_bytes(bytes.try_into().ok()?).ok();
}

/// The stored form of a time: Unix milliseconds, UTC.
pub(super) fn milliseconds(time: Timestamp) -> i64 {
    let milliseconds = time.unix_timestamp_nanos().div_euclid(1_000_000);
    i64::try_from(milliseconds).expect("a time with a four-digit year fits")
}

fn timestamp(milliseconds: i64) -> Option<Timestamp> {
    Timestamp::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()
}
