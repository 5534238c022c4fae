//! Which statements were executed, heard from sqlx's own log.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::{LazyLock, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

static EXECUTED: LazyLock<Mutex<HashSet<(&'static str, String)>>> = LazyLock::new(Mutex::default);
static BEGIN: Once = Once::new();

/// Listens from now on.
pub(crate) fn begin() {
    BEGIN.call_once(|| {
        let listener = tracing_subscriber::registry().with(Listener.with_filter(LevelFilter::DEBUG));
        tracing::subscriber::set_global_default(listener).unwrap();
    });
}

/// Lists the statements of the store that this database never executed.
pub(crate) fn never_executed(database: &'static str) -> Vec<String> {
    let executed = EXECUTED.lock().unwrap();
    let (alone, given) = written_statements();
    assert!(
        alone.len() > 50 && given.len() > 10,
        "the statements were not found in the sources"
    );
    let is_part = |statement: &String| {
        let mut here = executed.iter().filter(|(where_, _)| *where_ == database);
        here.any(|(_, executed)| executed.contains(statement))
    };
    let never = alone
        .into_iter()
        .filter(|statement| !executed.contains(&(database, statement.clone())));
    never
        .chain(given.into_iter().filter(|statement| !is_part(statement)))
        .collect()
}

/// Finds every `sql("…")` in the sources of the store, and every statement of a `sql_given!(…)`, which has something
/// before it when it is executed.
fn written_statements() -> (Vec<String>, Vec<String>) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folder = fs::read_dir(source.join("store"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (mut statements, mut given) = (Vec::new(), Vec::new());
    for path in folder.chain([source.join("store.rs")]) {
        let text = fs::read_to_string(&path).unwrap();
        if !path.ends_with("given.rs") {
            given.extend(text.split("sql_given!(").skip(1).flat_map(literals).map(normalise));
        }
        let calls = text.split("sql(").skip(1).map(str::trim_start);
        let literals = calls.filter_map(|call| call.strip_prefix('"')?.split_once('"'));
        statements.extend(literals.map(|(statement, _)| normalise(statement)));
    }
    (statements, given)
}

/// Lists the literals up to the first semicolon outside of one.
fn literals(code: &str) -> Vec<&str> {
    let parts: Vec<&str> = code.split('"').collect();
    let is_whole = |pair: &&[&str]| !pair[0].contains(';') && pair.len() == 2;
    parts.chunks(2).take_while(is_whole).map(|pair| pair[1]).collect()
}

/// Brings a statement to one line; SQLite does not see the lock clause.
fn normalise(statement: &str) -> String {
    let words: Vec<_> = statement.split_whitespace().collect();
    let line = words.join(" ");
    let unlocked = line.split_once(" FOR UPDATE");
    unlocked.map_or(line.clone(), |(unlocked, _)| unlocked.to_owned())
}

struct Listener;

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() != "sqlx::query" {
            return;
        }
        let mut query = Query::default();
        event.record(&mut query);
        let statement = if query.statement.trim().is_empty() {
            query.summary
        } else {
            query.statement
        };
        // SQLite runs in threads of its own.
        let is_sqlite = std::thread::current()
            .name()
            .is_some_and(|name| name.starts_with("sqlx-sqlite"));
        let database = if is_sqlite { "sqlite" } else { "postgres" };
        EXECUTED.lock().unwrap().insert((database, normalise(&statement)));
    }
}

#[derive(Default)]
struct Query {
    summary: String,
    statement: String,
}

impl Visit for Query {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            _ => {}
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}
