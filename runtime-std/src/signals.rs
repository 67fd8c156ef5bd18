//! SIGTERM and SIGINT ask for an orderly stop.

use std::io;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

/// Calls `stop` at the first SIGTERM or SIGINT; the second ends the process at once, as the
/// signal does by itself.
pub fn on_stop(stop: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut asked = false;
        for signal in signals.forever() {
            if asked {
                let _ = low_level::emulate_default_handler(signal);
            }
            asked = true;
            stop();
        }
    })?;
    Ok(())
}
