//! Statements about many rows at once: a fleet that enrolls costs a statement a table, and not a statement a device.
//!
//! Such a statement reads its rows from `given`. PostgreSQL gets each column of it as an array, SQLite the whole as one
//! JSON array; the statement itself is written once.

use std::vec::IntoIter;

use serde::{Serialize, Serializer};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::statement::{Value, Values};

/// SQL in full, for each database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

/// Writes statements about `given`, with the names of its columns in the order in which they are bound; `bytes` marks
/// those that are neither text nor integer.
///
/// `sql_given!((id, key: bytes) "UPDATE device SET … FROM given WHERE …")` is one statement. Where it reads, it says `FROM
/// given CROSS JOIN …`: SQLite then begins with `given`, and does not look all of it through for each row of a table.
///
/// `sql_given!((id, key: bytes) devices: "INSERT …", keys: "INSERT …")` are several that change tables, for
/// [`Transaction::change`](super::transaction::Transaction::change). SQLite executes them one after the other, so foreign
/// keys have to fit after each; PostgreSQL all at once, so none sees what the others change, and foreign keys have to fit
/// after all. `; sqlite step: "…"` at the end is what makes them fit on SQLite.
macro_rules! sql_given {
    (($($columns:tt)*) $($statements:tt)*) => {
        $crate::store::given::number_columns!(
            [1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16] [] ($($columns)*,) $($statements)*
        )
    };
}

macro_rules! number_columns {
    ([$number:literal $($numbers:literal)*] [$($done:tt)*] ($column:ident: bytes, $($rest:tt)*) $($statements:tt)*) => {
        $crate::store::given::number_columns!(
            [$($numbers)*] [$($done)* ($number $column "unhex")] ($($rest)*) $($statements)*
        )
    };
    ([$number:literal $($numbers:literal)*] [$($done:tt)*] ($column:ident, $($rest:tt)*) $($statements:tt)*) => {
        $crate::store::given::number_columns!(
            [$($numbers)*] [$($done)* ($number $column "")] ($($rest)*) $($statements)*
        )
    };
    ($left:tt $columns:tt () $statement:literal) => {
        $crate::store::given::Texts {
            postgres: concat!($crate::store::given::postgres_given!($columns), " ", $statement),
            sqlite: concat!($crate::store::given::sqlite_given!($columns), " ", $statement),
        }
    };
    ($left:tt $columns:tt () $first:ident: $first_statement:literal $(, $step:ident: $statement:literal)+
        $(; sqlite $last:ident: $last_statement:literal)?) => {
        $crate::store::given::Texts {
            postgres: concat!(
                $crate::store::given::postgres_given!($columns),
                ", ", stringify!($first), " AS (", $first_statement, " RETURNING 1)",
                $(", ", stringify!($step), " AS (", $statement, " RETURNING 1)",)+
                " SELECT (SELECT count(*) FROM ", stringify!($first), ")",
                $(" + (SELECT count(*) FROM ", stringify!($step), ")",)+
                " AS changed"
            ),
            sqlite: concat!(
                $crate::store::given::sqlite_given!($columns), " ", $first_statement,
                $("; ", $crate::store::given::sqlite_given!($columns), " ", $statement,)+
                $("; ", $crate::store::given::sqlite_given!($columns), " ", $last_statement,)?
            ),
        }
    };
}

macro_rules! postgres_given {
    ([($first_number:literal $first:ident $first_read:literal) $(($number:literal $column:ident $read:literal))*]) => {
        concat!(
            "WITH given (", stringify!($first) $(, ", ", stringify!($column))*,
            ") AS (SELECT * FROM unnest($", $first_number $(, ", $", $number)*, "))"
        )
    };
}

macro_rules! sqlite_given {
    ([($first_number:literal $first:ident $first_read:literal) $(($number:literal $column:ident $read:literal))*]) => {
        concat!(
            "WITH given (", stringify!($first) $(, ", ", stringify!($column))*,
            ") AS (SELECT ", $first_read, "(value ->> (", $first_number, " - 1))"
            $(, ", ", $read, "(value ->> (", $number, " - 1))")*, " FROM jsonb_each($1))"
        )
    };
}

pub(super) use {number_columns, postgres_given, sql_given, sqlite_given};

/// Writes the rows as SQLite gets them; bytes are hexadecimal in there.
pub(super) fn to_json(rows: &[Values]) -> String {
    serde_json::to_string(rows).expect("there are only lists, texts and integers")
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(serializer),
            Self::Integer(integer) => integer.serialize(serializer),
            Self::Bytes(bytes) => bytes.as_deref().map(hex).serialize(serializer),
        }
    }
}

/// Binds the rows as PostgreSQL gets them, each column an array. There is at least one row.
pub(super) fn bind_columns(
    mut query: Query<'static, Postgres, PgArguments>,
    rows: Vec<Values>,
) -> Query<'static, Postgres, PgArguments> {
    let mut rows: Vec<IntoIter<Value>> = rows.into_iter().map(Values::into_iter).collect();
    loop {
        let mut column = rows.iter_mut().filter_map(Iterator::next).peekable();
        query = match column.peek() {
            None => return query,
            Some(Value::Text(_)) => query.bind(column.map(Value::into_text).collect::<Vec<_>>()),
            Some(Value::Integer(_)) => query.bind(column.map(Value::into_integer).collect::<Vec<_>>()),
            Some(Value::Bytes(_)) => query.bind(column.map(Value::into_bytes).collect::<Vec<_>>()),
        };
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four_bits: u8| char::from(DIGITS[usize::from(four_bits)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xF)])
        .collect()
}
