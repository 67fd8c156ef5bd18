//! Load on a running ensemble: many sessions on one thread, which shares the cores with the
//! servers and therefore has to be cheap.

mod churn;
mod count;
mod driver;
mod fan_out;
mod outage;
mod paced;
mod probe;
pub(crate) mod request;
mod session;
mod setup;
mod steady;
mod turns;

use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::Serialize;

pub use self::driver::Nanos;
pub use self::fan_out::fan_out;
pub use self::outage::outage;
pub use self::paced::{Paced, paced};
pub use self::probe::probe;
pub use self::turns::turns;

/// What sessions ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// setData on one node a session.
    Set,
    /// create, below one node a session.
    Create,
    /// getData of one node a session.
    Get,
    /// Nine getData, one setData.
    Mixed,
    /// A new session and its end, on a connection of its own.
    Churn,
}

/// On which nodes it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nodes {
    /// One of each session's own, made before; new ones are made below it.
    Own,
    /// Any of a tree of so many that is there ([`tree_file`](crate::ensemble::tree_file)), all as
    /// often as others; a new one is made below any of its parents, and removed next.
    Tree(usize),
}

/// What is driven how.
#[derive(Clone, PartialEq, Debug)]
pub struct Load {
    /// Where the members serve; sessions go round.
    pub servers: Vec<SocketAddr>,
    /// Sessions, each on a connection of its own.
    pub connections: usize,
    /// Requests that each keeps under way.
    pub outstanding: usize,
    /// What they ask.
    pub op: Op,
    /// Bytes of data.
    pub bytes: usize,
    /// On which nodes.
    pub nodes: Nodes,
    /// Not measured, at the beginning.
    pub warm_up: Duration,
    /// Measured.
    pub measured: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Operations that succeeded, and ...
    pub operations: u64,
    /// ... in how many seconds.
    pub seconds: f64,
    /// From the write to the socket to the read from it, ns.
    pub latencies: Histogram<u64>,
    /// Operations that were refused.
    pub failed: u64,
    /// Of a core, what this process took.
    pub load_share: f64,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Sessions are made, or warm up.
    Preparing,
    /// Now it counts.
    Begins,
    /// What follows does not count.
    Ended,
}

/// Why a run came to nothing.
#[derive(Debug)]
pub struct Failed(pub String);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Failed {
        Failed(error.to_string())
    }
}

/// Drives an ensemble; `on` is told when it counts. What is created is removed at the end.
///
/// # Errors
/// A member refuses, or its connection breaks.
pub fn run(load: &Load, on: &mut dyn FnMut(Phase)) -> Result<Measured, Failed> {
    on(Phase::Preparing);
    match load.op {
        Op::Churn => churn::churn(load, on),
        Op::Set | Op::Create | Op::Get | Op::Mixed => steady::steady(load, on),
    }
}

/// From 1 µs to two minutes, in ns.
pub fn histogram() -> Histogram<u64> {
    // The bounds are constants that are known to be fine.
    Histogram::new_with_bounds(1_000, 120_000_000_000, 3).unwrap_or_else(|e| panic!("{e}"))
}
