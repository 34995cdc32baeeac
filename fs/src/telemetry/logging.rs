//! Owns the set-up of log lines: which go where, in what form. Done once for a process.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The text that says what to log cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a log level: {0} (error, warn, info, debug, trace; or per part: info,tarn::sync=debug)")]
pub struct BadFilter(pub String);

/// Hands one writer to all threads, a whole line at a time.
#[derive(Clone)]
pub struct LogWriter(Arc<Mutex<dyn Write + Send>>);

impl LogWriter {
    /// Shares a writer.
    pub fn new(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Sends log lines to `file`, and to standard error as well if `to_stderr`.
///
/// # Errors
/// Fails if `level` is neither a level nor a list of filters. A second call in one process changes nothing.
pub fn init_logging(level: &str, file: Option<LogWriter>, to_stderr: bool) -> Result<(), BadFilter> {
    let filter = filter_of(level)?;
    let file = file.map(|writer| fmt::layer().with_writer(writer).with_ansi(false));
    let stderr = to_stderr.then(|| fmt::layer().with_writer(io::stderr).with_ansi(false).compact());
    let registry = tracing_subscriber::registry().with(filter).with(file).with(stderr);
    // The error says that a subscriber stands already: that of a test.
    drop(registry.try_init());
    Ok(())
}

/// Says whether a text is a level or a list of filters.
///
/// # Errors
/// Names it if it is not.
pub fn check_filter(level: &str) -> Result<(), BadFilter> {
    filter_of(level).map(drop)
}

fn filter_of(level: &str) -> Result<EnvFilter, BadFilter> {
    let bad = || BadFilter(level.to_owned());
    if level.trim().is_empty() || !level.contains('=') && level.parse::<tracing::Level>().is_err() {
        return Err(bad());
    }
    EnvFilter::try_new(level).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn levels_and_filters_are_read_and_nonsense_is_refused() {
        for good in ["info", "DEBUG", "info,tarn::sync=trace", "tarn=debug"] {
            assert!(filter_of(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "tarn=loud"] {
            assert_eq!(filter_of(bad).err(), Some(BadFilter(bad.into())));
        }
    }
}
