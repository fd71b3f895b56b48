//! The executor's own log: lines of the level that the book asks for, passed on as events.

use std::io::{self, Write};
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::fatebook::LogLevel;

use super::CRITICAL;

/// Takes a line of the log.
pub(super) type Sink = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

/// A log of this level.
pub(super) fn logger(level: LogLevel, sink: Sink) -> Dispatch {
    let most = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Error | LogLevel::Critical => LevelFilter::ERROR,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(most)
        .without_time()
        .with_target(false)
        .with_level(false)
        .with_ansi(false)
        .with_writer(Lines { least: level, sink })
        .finish();
    Dispatch::new(subscriber)
}

/// A log that nobody keeps.
pub(super) fn silent() -> Dispatch {
    Dispatch::none()
}

struct Lines {
    least: LogLevel,
    sink: Sink,
}

struct Line<'a> {
    level: LogLevel,
    lines: &'a Lines,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { level: LogLevel::Info, lines: self }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        let level = match *metadata.level() {
            Level::ERROR if metadata.target() == CRITICAL => LogLevel::Critical,
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warning,
            Level::INFO => LogLevel::Info,
            _ => LogLevel::Debug,
        };
        Line { level, lines: self }
    }
}

impl Write for Line<'_> {
    /// The subscriber writes each line at once.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.level >= self.lines.least {
            (self.lines.sink)(self.level, String::from_utf8_lossy(bytes).trim_end());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
