//! The steady load: each session keeps the same number of requests under way.

use super::count::{Count, Counting, measure};
use super::driver::{Driver, Nanos, Workload};
use super::request::Template;
use super::session::{Happened, Session};
use super::setup::nodes;
use super::{Failed, Load, Measured, Op, Phase};

/// Of a mixed load, one request in so many is a write.
const MIXED: u64 = 10;

pub(super) fn steady(load: &Load, on: &mut dyn FnMut(Phase)) -> Result<Measured, Failed> {
    let paths = nodes(&load.servers, load.connections, load.bytes)?;
    let mut driver = Driver::new(&load.servers, load.connections)?;
    let mut workload = Steady {
        requests: paths.iter().map(|path| Requests::new(load, path)).collect(),
        outstanding: load.outstanding,
        ready: 0,
        count: Count::new(),
    };
    measure(&mut driver, &mut workload, load, on)
}

struct Steady {
    requests: Vec<Requests>,
    outstanding: usize,
    ready: usize,
    count: Count,
}

/// What a session sends: mostly the one, every so many the other.
struct Requests {
    usual: Template,
    other: Option<Template>,
}

impl Requests {
    fn new(load: &Load, path: &str) -> Requests {
        let usual = match load.op {
            Op::Set => Template::set(path, load.bytes),
            Op::Create => Template::create_below(path, load.bytes),
            Op::Get | Op::Mixed | Op::Churn => Template::get(path, false),
        };
        let other = (load.op == Op::Mixed).then(|| Template::set(path, load.bytes));
        Requests { usual, other }
    }
}

impl Workload for Steady {
    fn happened(&mut self, session: &mut Session, what: Happened, now: Nanos) {
        match what {
            Happened::Ready => self.ready += 1,
            Happened::Reply { sent, error } => self.count.done(now - sent, error),
            Happened::Watch | Happened::Lost => {}
        }
        let requests = &self.requests[session.index];
        while session.under_way() < self.outstanding {
            let request = match &requests.other {
                Some(other) if session.count.is_multiple_of(MIXED) => other,
                _ => &requests.usual,
            };
            session.send(request, now);
        }
    }
}

impl Counting for Steady {
    fn count(&mut self) -> &mut Count {
        &mut self.count
    }

    fn ready(&self) -> bool {
        self.ready >= self.requests.len()
    }
}
