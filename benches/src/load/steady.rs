//! The steady load: each session keeps the same number of requests under way.

use super::count::{Count, Counting, measure};
use super::driver::{Driver, Nanos, Workload};
use super::request::Template;
use super::session::{Happened, Session};
use super::setup::{new_name, nodes, remove};
use super::{Failed, Load, Measured, Nodes, Op, Phase};
use crate::ensemble::tree_file::{NODE, PARENT, parents};

/// Of a mixed load, one request in so many is a write.
const MIXED: u64 = 10;
/// New nodes of one session have so many names.
const NAMES: u64 = 10_000_000_000;

pub(super) fn steady(load: &Load, on: &mut dyn FnMut(Phase)) -> Result<Measured, Failed> {
    let mut own = Vec::new();
    let requests = match load.nodes {
        Nodes::Own => {
            own = nodes(&load.servers, load.connections, load.bytes)?;
            own.iter().map(|path| Requests::own(load, path)).collect()
        }
        Nodes::Tree(count) => {
            let requests = (0..load.connections).map(|_| Requests::tree(load, count));
            requests.collect::<Result<_, _>>()?
        }
    };
    let mut driver = Driver::new(&load.servers, load.connections)?;
    let mut workload =
        Steady { requests, outstanding: load.outstanding, ready: 0, count: Count::new() };
    let measured = measure(&mut driver, &mut workload, load, on)?;
    // Who created them has numbered all its requests, the end of its session, too.
    let below = |session: &Session| if load.op == Op::Create { session.count } else { 0 };
    remove(&load.servers, own.into_iter().zip(driver.sessions.iter().map(below)).collect())?;
    Ok(measured)
}

struct Steady {
    requests: Vec<Requests>,
    outstanding: usize,
    ready: usize,
    count: Count,
}

/// What a session sends.
enum Requests {
    /// The same on the same node.
    One(Template),
    /// Mostly the one, every so many the other.
    Mixed(Template, Template),
    /// The same on any of so many nodes.
    Any(Template, u64),
    /// A new node below any of so many, and its end.
    Pair(Template, Template, u64),
}

impl Requests {
    fn own(load: &Load, path: &str) -> Requests {
        let get = || Template::get(path, false);
        let set = || Template::set(path, load.bytes);
        match load.op {
            Op::Set => Requests::One(set()),
            Op::Create => Requests::One(Template::create_below(path, load.bytes)),
            Op::Get | Op::Churn => Requests::One(get()),
            Op::Mixed => Requests::Mixed(get(), set()),
        }
    }

    fn tree(load: &Load, nodes: usize) -> Result<Requests, Failed> {
        let many = nodes as u64;
        Ok(match load.op {
            Op::Set => Requests::Any(Template::set(NODE, load.bytes), many),
            Op::Get => Requests::Any(Template::get(NODE, false), many),
            Op::Create => {
                let path = format!("{PARENT}/{}-{}", new_name(), "#".repeat(10));
                let create = Template::create(&path, load.bytes);
                Requests::Pair(create, Template::delete(&path), parents(nodes) as u64)
            }
            other => return Err(Failed(format!("{other:?} is not asked of a tree"))),
        })
    }

    /// The next one of a session.
    fn send(&self, session: &mut Session, now: Nanos) {
        let count = session.count;
        match self {
            Requests::One(request) => session.send(request, now),
            Requests::Mixed(_, other) if count.is_multiple_of(MIXED) => session.send(other, now),
            Requests::Mixed(usual, _) => session.send(usual, now),
            Requests::Any(request, of) => {
                session.send_with(request, any(session.index, count) % of, now);
            }
            Requests::Pair(create, delete, of) => {
                let pair = count / 2;
                let number = any(session.index, pair) % of * NAMES + pair;
                let request = if count.is_multiple_of(2) { create } else { delete };
                session.send_with(request, number, now);
            }
        }
    }
}

/// A number like any other, the same for the same session and count (SplitMix64).
fn any(session: usize, count: u64) -> u64 {
    let mut z = (count << 16 | session as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl Workload for Steady {
    fn happened(&mut self, session: &mut Session, what: Happened, now: Nanos) {
        match what {
            Happened::Ready => self.ready += 1,
            Happened::Reply { sent, error } => self.count.done(now - sent, error),
            Happened::Watch | Happened::Lost => {}
        }
        while session.under_way() < self.outstanding {
            self.requests[session.index].send(session, now);
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
