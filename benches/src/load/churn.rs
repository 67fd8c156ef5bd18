//! Sessions that come and go: a connection, a new session, its end, and the next one.

use super::count::{Count, Counting, measure};
use super::driver::{Driver, Nanos, Workload};
use super::request::Template;
use super::session::{Happened, Session};
use super::{Failed, Load, Measured, Phase};

/// So many at once as there are connections.
pub(super) fn churn(load: &Load, on: &mut dyn FnMut(Phase)) -> Result<Measured, Failed> {
    let mut driver = Driver::new(&load.servers, load.connections)?;
    let mut churn = Churn {
        close: Template::close(),
        begun: vec![0; load.connections],
        over: 0,
        count: Count::new(),
    };
    measure(&mut driver, &mut churn, load, on)
}

struct Churn {
    close: Template,
    /// When each of those that are under way was.
    begun: Vec<Nanos>,
    over: usize,
    count: Count,
}

impl Workload for Churn {
    fn happened(&mut self, session: &mut Session, what: Happened, now: Nanos) {
        match what {
            Happened::Ready => session.send(&self.close, now),
            Happened::Reply { error, .. } => {
                self.over += 1;
                let begun = std::mem::replace(&mut self.begun[session.index], now);
                self.count.done(now - begun, error);
                session.forget();
            }
            Happened::Watch | Happened::Lost => {}
        }
    }
}

impl Counting for Churn {
    fn count(&mut self) -> &mut Count {
        &mut self.count
    }

    fn ready(&self) -> bool {
        self.over >= self.begun.len()
    }
}
