//! Whether somebody wants this process to end. Loads and ensembles look at it and give up, so that
//! servers are ended and files removed by those who know them.

use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::load::Failed;

/// The signal that said so.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// From now on a signal that ends processes stops what is done here; `at_once` is done as soon as
/// it comes. A second one ends the process.
///
/// # Errors
/// Signals cannot be waited for.
pub fn at_signals(at_once: impl Fn() + Send + 'static) -> Result<(), Failed> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            let before = SIGNAL.swap(signal, Ordering::SeqCst);
            at_once();
            if before != 0 {
                std::process::exit(128 + signal);
            }
        }
    });
    Ok(())
}

/// The signal, if there was one.
pub fn signal() -> Option<i32> {
    Some(SIGNAL.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// An error, if there was a signal.
///
/// # Errors
/// That it is to stop.
pub fn check() -> Result<(), Failed> {
    match signal() {
        Some(signal) => Err(Failed(format!("stopped by signal {signal}"))),
        None => Ok(()),
    }
}
