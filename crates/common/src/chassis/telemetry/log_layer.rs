//! Writes one line an event, with the fields of its spans, as JSON or for people.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::plain_text::plain_text;
use crate::chassis::config::LogFormat;
use crate::domain::{Clock as _, SystemClock, rfc3339};

/// Longest field, in bytes.
const MAX_FIELD: usize = 256;

/// Longest message and longest chain of errors, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Names that never belong into a log; whoever writes one gets a mark instead of the value.
const SECRET_FIELDS: [&str; 8] = [
    "authorization",
    "cookie",
    "csr",
    "password",
    "private_key",
    "secret",
    "ticket",
    "token",
];

pub(super) struct LogLayer<W> {
    format: LogFormat,
    color: bool,
    writer: Mutex<W>,
}

impl<W> LogLayer<W> {
    pub(super) fn new(format: LogFormat, writer: W) -> Self {
        Self {
            format,
            color: false,
            writer: Mutex::new(writer),
        }
    }

    pub(super) fn with_color(self, color: bool) -> Self {
        Self { color, ..self }
    }
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: io::Write + Send + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                of_span
                    .0
                    .iter()
                    .for_each(|(name, value)| fields.set(name, value.clone()));
            }
        }
        event.record(&mut fields);
        let line = match self.format {
            LogFormat::Json => json_line(event.metadata(), fields),
            LogFormat::Human => human_line(event.metadata(), fields, self.color),
        };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that cannot be written has nowhere to say so.
        drop(writer.write_all(line.as_bytes()));
    }
}

/// The fields of an event or a span, in the order in which they were written; the last value counts.
#[derive(Debug, Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn set(&mut self, name: &'static str, value: Value) {
        self.0.retain(|(present, _)| *present != name);
        self.0.push((name, value));
    }

    fn set_text(&mut self, name: &'static str, text: &str) {
        let last_part = name.rsplit('.').next().unwrap_or(name);
        if SECRET_FIELDS.contains(&last_part) {
            return self.set(name, "[redacted]".into());
        }
        let max_bytes = if matches!(name, "message" | "error") {
            MAX_MESSAGE
        } else {
            MAX_FIELD
        };
        self.set(name, plain_text(text, max_bytes).into());
    }

    fn take_message(&mut self) -> String {
        let at = self.0.iter().position(|(name, _)| *name == "message");
        let message = at.map(|at| self.0.remove(at).1);
        message.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl Visit for Fields {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set_text(field.name(), &format!("{value:?}"));
    }
}

fn json_line(metadata: &Metadata<'_>, mut fields: Fields) -> String {
    let message = fields.take_message();
    let head: [(&str, Value); 4] = [
        ("timestamp", rfc3339(SystemClock.now()).into()),
        ("level", metadata.level().as_str().into()),
        ("target", metadata.target().into()),
        ("message", message.into()),
    ];
    let mut line = String::from("{");
    for (name, value) in head.into_iter().chain(fields.0) {
        let separator = if line.len() > 1 { "," } else { "" };
        write!(line, "{separator}{}:{value}", Value::from(name)).expect("writing to a String does not fail");
    }
    line.push_str("}\n");
    line
}

fn human_line(metadata: &Metadata<'_>, mut fields: Fields, color: bool) -> String {
    let message = fields.take_message();
    let level = metadata.level();
    let (on, off) = if color {
        (color_of(*level), "\u{1b}[0m")
    } else {
        ("", "")
    };
    let mut line = format!("{} {on}{level:>5}{off} {message}", rfc3339(SystemClock.now()));
    for (name, value) in fields.0 {
        match value.as_str().filter(|text| !text.contains([' ', '"', '='])) {
            Some(text) => write!(line, " {name}={text}"),
            None => write!(line, " {name}={value}"),
        }
        .expect("writing to a String does not fail");
    }
    line.push('\n');
    line
}

fn color_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG | Level::TRACE => "\u{1b}[2m",
    }
}
