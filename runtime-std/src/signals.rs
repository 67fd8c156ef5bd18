//! Signals: SIGTERM, SIGINT and SIGHUP stop the process in order, SIGQUIT logs its state.

use std::fs;
use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use crate::logging;

/// Calls `stop` at the first SIGTERM, SIGINT or SIGHUP. Further ones are ignored, because
/// supervisors repeat signals, except for a second SIGINT: it ends the process at once. At each
/// SIGQUIT, logs the state of the threads and calls `describe`.
///
/// SIGHUP stays ignored if it was ignored when the process began (`nohup`).
///
/// # Errors
/// The handlers cannot be installed, or the thread cannot be created.
pub(crate) fn handle(
    stop: impl Fn() + Send + 'static,
    describe: impl Fn() + Send + 'static,
) -> io::Result<()> {
    let mut all = vec![SIGTERM, SIGINT, SIGQUIT];
    if !is_ignored(SIGHUP) {
        all.push(SIGHUP);
    }
    let mut signals = Signals::new(all)?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut is_stopping = false;
        for signal in signals.forever() {
            if signal == SIGQUIT {
                tracing::warn!("SIGQUIT: logging the state of the server, which continues");
                tracing::warn!("threads: {}", threads());
                describe();
                continue;
            }
            if is_stopping && signal == SIGINT {
                logging::flush();
                let _ = low_level::emulate_default_handler(signal);
            }
            is_stopping = true;
            stop();
        }
    })?;
    Ok(())
}

/// Whether the process was started with this signal ignored; true if that is unknown.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored_signals(&status).is_none_or(|mask| mask & (1 << (signal - 1)) != 0)
}

fn ignored_signals(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Names, states and processor time of the threads of this process.
fn threads() -> String {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        all.extend(thread_state(&stat));
    }
    if all.is_empty() { String::from("unknown on this system") } else { all.join(", ") }
}

/// Describes a thread by a line of `/proc/PID/task/TID/stat`.
fn thread_state(stat: &str) -> Option<String> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let state = match *fields.first()? {
        "R" => "running",
        "S" => "waiting",
        "D" => "waiting for a disk",
        "T" | "t" => "stopped",
        other => other,
    };
    let ticks: u64 = fields.get(11..13)?.iter().filter_map(|n| n.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(format!("{name} {state} ({} ms)", ticks.saturating_mul(1000) / per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_of_signals_and_threads_are_parsed() {
        let status = "Name:\tcat\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000001\n";
        assert_eq!(ignored_signals(status), Some(1));
        assert_eq!(ignored_signals("Name:\tcat\n"), None);
        let stat = "17 (disk (1)) D 1 17 17 0 -1 4194304 90 0 0 0 30 20 0 0 20 0 3 0 1 1 1";
        let per_second = rustix::param::clock_ticks_per_second();
        let expected = format!("disk (1) waiting for a disk ({} ms)", 50_000 / per_second);
        assert_eq!(thread_state(stat), Some(expected));
        assert_eq!(thread_state(""), None);
    }
}
