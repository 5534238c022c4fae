//! The log of a process.

mod log_layer;
mod plain_text;

use std::io::{self, IsTerminal as _};
use std::panic::PanicHookInfo;

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use self::log_layer::LogLayer;
use super::config::LogFormat;

/// The log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("`LOG_FILTER` is not a filter such as `info` or `info,common=debug`")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A process has one log.
    #[error("the log has been started before")]
    AlreadyStarted(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts the log of this process on stderr, panics included. `filter` is in the syntax of
/// tracing-subscriber, for example `info,common=debug`.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let layer = LogLayer::new(format, io::stderr()).with_color(io::stderr().is_terminal());
    tracing::subscriber::set_global_default(Registry::default().with(EnvFilter::try_new(filter)?).with(layer))?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Returns the same log with another destination, for tests that read it.
pub fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, TelemetryError>
where
    W: io::Write + Send + 'static,
{
    Ok(Registry::default()
        .with(EnvFilter::try_new(filter)?)
        .with(LogLayer::new(format, writer)))
}

/// Says where it happened. Only a fixed text is repeated: a formatted one may hold anything.
fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    let reason = info.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(panic.location = location, panic.reason = reason, "A task panicked");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_an_error_and_not_a_panic() {
        assert!(matches!(
            init(LogFormat::Json, "common=loud"),
            Err(TelemetryError::Filter(_))
        ));
    }
}
