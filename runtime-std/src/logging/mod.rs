//! Logs go to stderr, readable or as JSON, and never stop whoever writes them.

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

use self::limiter::Limiter;
use self::sink::LineSink;
use crate::command_line::LogFormat;
use crate::exit::{self, Failure};

static STDERR: LineSink = LineSink::new();
static STDOUT: LineSink = LineSink::new();
static LIMITER: Limiter = Limiter::new();

/// How long the end of the process waits for what is still to be written.
const LINGER: Duration = Duration::from_secs(1);

/// Starts the thread that writes to stderr, and makes panics go the same way. Until then
/// [`say`] only gathers.
///
/// # Errors
/// There can be no more threads or file descriptors.
pub fn start() -> Result<(), Failure> {
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

/// Sets up logging for the process. `filter` is a level (`info`) or a list of
/// `target=level`, as `--log` takes it.
pub fn init(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Failure::new(exit::INVALID_INVOCATION, format!("--log {filter}: {e}; say for example info"))
    })?;
    let lines = fmt::layer().with_writer(|| &STDERR).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let logs = tracing_subscriber::registry().with(filter).with(lines).with(&LIMITER);
    logs.try_init().map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("logging: {e}")))
}

/// Writes a line to stderr as it is, after what was logged before.
pub fn say(line: &str) {
    STDERR.push(format!("{line}\n").as_bytes());
}

/// Writes a line to stdout; never waits for whoever reads it.
pub fn print(line: &str) {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    // Without a thread it stays where it is, and is lost.
    let _ = stdout.and_then(|fd| STDOUT.start("stdout", fd.into(), || {}));
    STDOUT.push(format!("{line}\n").as_bytes());
}

/// Before the process ends: waits a little until everything is written.
pub fn flush() {
    STDOUT.flush(LINGER);
    STDERR.flush(LINGER);
}

/// Lines for stderr that are lost: they could not be written in time.
pub fn lines_dropped() -> u64 {
    STDERR.dropped()
}
