//! Logging to stderr, as text or JSON, without ever blocking the logging thread.

mod limiter;
mod sink;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::os::fd::AsFd;
use std::panic;
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use self::limiter::RateLimiter;
use self::sink::LineSink;
use crate::command_line::LogFormat;
use crate::exit::{self, Failure};

static STDERR: LineSink = LineSink::new();
static STDOUT: LineSink = LineSink::new();
static LIMITER: RateLimiter = RateLimiter::new();

/// How long the end of the process waits for unwritten lines.
const LINGER: Duration = Duration::from_secs(1);

/// Starts the thread that writes to stderr, and sends the messages of panics the same way. Lines
/// of [`eprint`] before the start are kept.
///
/// # Errors
/// The thread cannot be created, or there are no file descriptors.
pub(crate) fn start() -> Result<(), Failure> {
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    stderr
        .and_then(|fd| STDERR.start("stderr", fd.into(), || LIMITER.emit()))
        .map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("stderr: {e}")))?;
    panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let backtrace = Backtrace::capture();
        let mut text = format!("thread '{name}' {info}\n");
        if backtrace.status() == BacktraceStatus::Captured {
            text += &format!("{backtrace}");
        }
        STDERR.push(text.as_bytes());
        STDERR.flush(LINGER);
    }));
    Ok(())
}

/// Sets up logging for the process. `filter` is the value of `--log`: a level (`info`) or a list of
/// `target=level`.
///
/// # Errors
/// The filter is invalid.
pub(crate) fn init(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Failure::new(
            exit::INVALID_INVOCATION,
            format!("--log {filter}: {e}; expected a level, for example info"),
        )
    })?;
    let lines = fmt::layer().with_writer(|| &STDERR).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let logs = tracing_subscriber::registry().with(filter).with(lines).with(&LIMITER);
    logs.try_init().map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("logging: {e}")))
}

/// Writes a line to stderr, after all earlier log lines.
pub(crate) fn eprint(line: &str) {
    STDERR.push(format!("{line}\n").as_bytes());
}

/// Writes a line to stdout, without waiting for its reader.
pub(crate) fn print(line: &str) {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    // Without a thread the line is lost.
    let _ = stdout.and_then(|fd| STDOUT.start("stdout", fd.into(), || {}));
    STDOUT.push(format!("{line}\n").as_bytes());
}

/// Waits until all lines are written, at most 1 s for each stream.
pub(crate) fn flush() {
    STDOUT.flush(LINGER);
    STDERR.flush(LINGER);
}

/// The number of lines that were dropped because stderr was too slow.
pub(crate) fn lines_dropped() -> u64 {
    STDERR.dropped()
}
