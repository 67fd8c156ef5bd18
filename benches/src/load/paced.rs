//! Writes at a fixed rate, and what they wait while something else is going on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::driver::{Driver, Nanos, TURN, Workload};
use super::request::Template;
use super::session::{Happened, Session};
use super::setup::{finish, nodes};
use super::{Failed, histogram};

/// Who write, in turn.
const WRITERS: usize = 8;
/// How long the sessions may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Latencies since the time at which each write was due, ns.
#[derive(Clone, Debug)]
pub struct Paced {
    /// Of those that were answered while nothing was going on.
    pub quiet: Histogram<u64>,
    /// Of the others.
    pub busy: Histogram<u64>,
    /// Writes that were refused.
    pub failed: u64,
}

/// Writes so often a second, for so long, whether the answers come or not. `busy` tells whether
/// something is going on.
///
/// # Errors
/// A member refuses, or its connection breaks.
pub fn paced(
    servers: &[SocketAddr],
    per_second: u64,
    measured: Duration,
    busy: &AtomicBool,
) -> Result<Paced, Failed> {
    let paths = nodes(servers, WRITERS, 128)?;
    let writes: Vec<_> = paths.iter().map(|path| Template::set(path, 128)).collect();
    let mut driver = Driver::new(servers, WRITERS)?;
    let mut pace =
        Pace { ready: 0, busy, seen: Paced { quiet: histogram(), busy: histogram(), failed: 0 } };
    while pace.ready < WRITERS {
        driver.within(PATIENCE, "all sessions are there")?;
        driver.turn(&mut pace, TURN)?;
    }
    let (begun, apart) = (driver.now(), 1_000_000_000 / per_second.max(1));
    let mut sent = 0;
    while driver.now() - begun < measured.as_nanos() as Nanos {
        let now = driver.now();
        while begun + sent * apart <= now {
            let index = sent as usize % WRITERS;
            driver.sessions[index].send(&writes[index], begun + sent * apart);
            driver.flush(index)?;
            sent += 1;
        }
        driver.turn(&mut pace, Duration::from_millis(1))?;
    }
    let seen = pace.seen;
    finish(&mut driver)?;
    Ok(seen)
}

struct Pace<'a> {
    ready: usize,
    busy: &'a AtomicBool,
    seen: Paced,
}

impl Workload for Pace<'_> {
    fn happened(&mut self, _session: &mut Session, what: Happened, now: Nanos) {
        match what {
            Happened::Ready => self.ready += 1,
            Happened::Reply { error, .. } if error != 0 => self.seen.failed += 1,
            Happened::Reply { sent, .. } => {
                let seen = match self.busy.load(Ordering::Relaxed) {
                    true => &mut self.seen.busy,
                    false => &mut self.seen.quiet,
                };
                seen.saturating_record(now - sent);
            }
            Happened::Watch | Happened::Lost => {}
        }
    }
}
