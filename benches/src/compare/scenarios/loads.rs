//! Rows under load, all on the same ensemble.

use std::time::{Duration, Instant};

use super::super::course::Course;
use super::super::rows::Scenario;
use super::Values;
use crate::ensemble::usage::Usage;
use crate::ensemble::{Ensemble, Program, Setup};
use crate::load::{self, Failed, Load, Measured, Nodes, Op, Phase};
use crate::report::Metric;

/// Data of a znode of a tree.
const TREE_BYTES: usize = 16;
/// What such a znode takes in a snapshot, and in the memory of a server, bytes; a little more than
/// that.
const ZNODE_ON_DISK: u64 = 120;
/// See [`ZNODE_ON_DISK`].
const ZNODE_IN_MEMORY: u64 = 250;

/// Servers get no faster if they have not for so many parts of their warm-up.
const NO_FASTER: u32 = 3;
/// What is not more than noise.
const NOISE: f64 = 1.05;

/// Servers that serve, and have done so for a while: code that is compiled while it runs gets
/// faster for seconds.
pub(in super::super) fn start(
    course: &Course,
    program: &Program,
    setup: &Setup,
    nodes: Nodes,
    warm_for: Duration,
) -> Result<Ensemble, Failed> {
    let mut started = Ensemble::start(program, &course.site, setup)?;
    started.settle();
    let (ops, bytes): (&[Op], _) = match nodes {
        Nodes::Own => (&[Op::Set, Op::Create, Op::Mixed, Op::Churn], 128),
        Nodes::Tree(_) => (&[Op::Set, Op::Create, Op::Get], TREE_BYTES),
    };
    for op in ops {
        course.says(format!("{}: warm-up, {op:?}", program.kind));
        let load = Load {
            servers: started.servers(),
            connections: 64,
            outstanding: 16,
            op: *op,
            bytes,
            nodes,
            warm_up: Duration::ZERO,
            measured: course.warm_up_part(),
        };
        warm_up(&load, warm_for).map_err(|error| started.explain(error))?;
    }
    Ok(started)
}

/// Until they get no faster, for about so long at most.
fn warm_up(load: &Load, most: Duration) -> Result<(), Failed> {
    let (mut best, mut since, begun) = (0.0, 0, Instant::now());
    while since < NO_FASTER {
        let measured = load::run(load, &mut |_| {})?;
        let rate = measured.operations as f64 / measured.seconds;
        since = if rate > best * NOISE { 0 } else { since + 1 };
        best = rate.max(best);
        if begun.elapsed() >= most {
            break;
        }
    }
    Ok(())
}

/// What an ensemble with so many znodes takes of the disk and of memory, bytes.
pub(super) fn tree_bytes(znodes: usize) -> (u64, u64) {
    let (znodes, servers) = (znodes as u64, Setup::default().members as u64);
    // The tree's snapshot, and the one that each server writes.
    (znodes * ZNODE_ON_DISK * (1 + servers), znodes * ZNODE_IN_MEMORY * servers)
}

/// An ensemble with so many znodes. It writes no snapshots meanwhile: they would take the longer
/// the more znodes there are, and be as frequent as writes are.
pub(in super::super) fn over_a_tree(course: &mut Course, znodes: usize) -> Result<Setup, Failed> {
    let snapshot = Some(course.tree(znodes, TREE_BYTES)?);
    Ok(Setup { extra: String::from("snapCount=1000000000\n"), snapshot, ..Setup::default() })
}

pub(in super::super) fn measure(
    course: &Course,
    ensemble: &Ensemble,
    scenario: &Scenario,
) -> Result<Values, Failed> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut on = |phase| match phase {
        Phase::Preparing => {}
        Phase::Begins => before = ensemble.usage(),
        Phase::Ended => after = ensemble.usage(),
    };
    let load = |op, connections, outstanding, bytes, nodes| Load {
        servers: ensemble.servers(),
        connections,
        outstanding,
        op,
        bytes,
        nodes,
        warm_up: course.measured / 3,
        measured: course.measured,
    };
    let measured = match *scenario {
        Scenario::Load { op, connections, outstanding, bytes } => {
            load::run(&load(op, connections, outstanding, bytes, Nodes::Own), &mut on)?
        }
        Scenario::Tree { op, znodes } => {
            load::run(&load(op, 64, 16, TREE_BYTES, Nodes::Tree(znodes)), &mut on)?
        }
        Scenario::Turns { op, connections, under_way } => {
            load::turns(&load(op, connections, under_way, 128, Nodes::Own), &mut on)?
        }
        Scenario::FanOut { watchers } => {
            load::fan_out(&ensemble.servers(), watchers, course.measured, &mut on)?
        }
        other => return Err(Failed(format!("{other:?} is no load"))),
    };
    Ok(values(&measured, &before, &after))
}

fn values(measured: &Measured, before: &[Usage], after: &[Usage]) -> Values {
    let ms = |q| measured.latencies.value_at_quantile(q) as f64 / 1e6;
    let cpu = |usage: &[Usage]| usage.iter().map(|u| u.cpu_seconds).sum::<f64>();
    let peak = after.iter().map(|usage| usage.peak_kib).max().unwrap_or(0);
    let operations = measured.operations.max(1) as f64;
    Values::from([
        (Metric::PerSecond, measured.operations as f64 / measured.seconds),
        (Metric::P50Ms, ms(0.5)),
        (Metric::P99Ms, ms(0.99)),
        (Metric::P999Ms, ms(0.999)),
        (Metric::CpuSeconds, (cpu(after) - cpu(before)) * 100_000.0 / operations),
        (Metric::PeakMib, peak as f64 / 1024.0),
        (Metric::LoadPercent, measured.load_share * 100.0),
        (Metric::Failed, measured.failed as f64),
    ])
}
