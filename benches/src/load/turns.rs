//! Sessions that take turns: so many requests under way in all, and the next one is sent by whoever
//! has waited longest. However many the connections are, the work is the same.

use super::count::{Count, Counting, measure};
use super::driver::{Driver, Nanos, Workload};
use super::request::Template;
use super::session::{Happened, Session};
use super::setup::{nodes, remove};
use super::{Failed, Load, Measured, Op, Phase};

/// Drives an ensemble with `load.outstanding` requests under way over all sessions, getData or
/// setData of a node of each session's own; `on` is told when it counts.
///
/// # Errors
/// A member refuses, or its connection breaks; or something else is to be asked.
pub fn turns(load: &Load, on: &mut dyn FnMut(Phase)) -> Result<Measured, Failed> {
    let request = |path: &String| match load.op {
        Op::Set => Ok(Template::set(path, load.bytes)),
        Op::Get => Ok(Template::get(path, false)),
        other => Err(Failed(format!("{other:?} is not asked in turns"))),
    };
    on(Phase::Preparing);
    let paths = nodes(&load.servers, load.connections, load.bytes)?;
    let mut driver = Driver::new(&load.servers, load.connections)?;
    let mut workload = Turns {
        requests: paths.iter().map(request).collect::<Result<_, _>>()?,
        due: load.outstanding,
        next: 0,
        ready: 0,
        count: Count::new(),
    };
    let measured = measure(&mut driver, &mut workload, load, on)?;
    remove(&load.servers, paths.into_iter().map(|path| (path, 0)).collect())?;
    Ok(measured)
}

struct Turns {
    requests: Vec<Template>,
    /// To be sent, whoever does it.
    due: usize,
    /// Whose turn it is.
    next: usize,
    ready: usize,
    count: Count,
}

impl Workload for Turns {
    fn happened(&mut self, _session: &mut Session, what: Happened, now: Nanos) {
        match what {
            Happened::Ready => self.ready += 1,
            Happened::Reply { sent, error } => {
                self.due += 1;
                self.count.done(now - sent, error);
            }
            Happened::Watch | Happened::Lost => {}
        }
    }

    fn over(&mut self, sessions: &mut [Session], now: Nanos) -> Result<(), Failed> {
        if !self.ready() {
            return Ok(());
        }
        let (from, due) = (self.next, std::mem::take(&mut self.due));
        for turn in from..from + due {
            let at = turn % sessions.len();
            sessions[at].send(&self.requests[at], now);
        }
        self.next = (from + due) % sessions.len();
        for turn in from..from + due.min(sessions.len()) {
            sessions[turn % sessions.len()].flush()?;
        }
        Ok(())
    }
}

impl Counting for Turns {
    fn count(&mut self) -> &mut Count {
        &mut self.count
    }

    fn ready(&self) -> bool {
        self.ready >= self.requests.len()
    }
}
