//! Logs go to stderr, readable or as JSON.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::command_line::LogFormat;
use crate::exit::{self, Failure};

/// Sets up logging for the process. `filter` is a level (`info`) or a list of
/// `target=level`, as `--log` takes it.
pub fn init(filter: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|e| {
        Failure::new(exit::INVALID_INVOCATION, format!("--log {filter}: {e}; say for example info"))
    })?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let done = match format {
        LogFormat::Text => logs.with_ansi(false).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    done.map_err(|e| Failure::new(exit::UNEXPECTED_ERROR, format!("logging: {e}")))
}
