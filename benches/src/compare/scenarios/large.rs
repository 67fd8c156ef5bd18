//! Rows of a large tree: memory, start, and the time that a snapshot costs others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::course::{Course, only};
use super::super::rows::Scenario;
use super::{Values, rss_mib};
use crate::ensemble::{Ensemble, Program, Setup, tree_file};
use crate::load::{Failed, paced};
use crate::report::Metric;

/// Znodes of a large tree, and the data of each.
const MANY: usize = 1_000_000;
const MANY_BYTES: usize = 100;
/// What three servers with it take at most, bytes: those with a heap of 1 GiB.
pub(super) const MEMORY: u64 = 5 << 30;
/// Until an ensemble with a large tree has come to rest.
const REST: Duration = Duration::from_secs(3);
/// Writes a second while snapshots are taken.
const PACE: u64 = 1000;
/// Writes from one snapshot to the next, at most.
const SNAP_COUNT: u64 = 8000;
/// How long it is written; some snapshots are taken in it.
const PACED: Duration = Duration::from_secs(30);
/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// A snapshot is being written as long as its file has grown lately.
const LATELY: Duration = Duration::from_millis(150);

pub(in super::super) fn measure(
    course: &mut Course,
    program: &Program,
    scenario: &Scenario,
) -> Result<Values, Failed> {
    let mut setup = Setup { snapshot: Some(course.tree(MANY, MANY_BYTES)?), ..Setup::default() };
    match scenario {
        Scenario::LargeStart => {
            setup.members = 1;
            let server = Ensemble::start(program, &course.site, &setup)?;
            Ok(only(Metric::Ms, server.started_in.as_secs_f64() * 1e3))
        }
        Scenario::LargeMemory => {
            let idle = course.idle(program)?;
            let ensemble = Ensemble::start(program, &course.site, &setup)?;
            thread::sleep(REST);
            let rss = rss_mib(&ensemble);
            let per_node = (rss - idle) * f64::from(1 << 20) / MANY as f64;
            let beside = per_node - (tree_file::PATH_BYTES + MANY_BYTES) as f64;
            Ok(Values::from([(Metric::RssMib, rss), (Metric::BytesPerZnode, beside)]))
        }
        Scenario::Snapshot => {
            setup.extra = format!("snapCount={SNAP_COUNT}\n");
            let ensemble = Ensemble::start(program, &course.site, &setup)?;
            thread::sleep(REST);
            snapshots(&ensemble)
        }
        other => Err(Failed(format!("{other:?} is not for a large tree"))),
    }
}

fn snapshots(ensemble: &Ensemble) -> Result<Values, Failed> {
    let (writing, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let seen = thread::scope(|scope| {
        scope.spawn(|| watch(ensemble, &writing, &done));
        let seen = paced(&ensemble.servers(), PACE, PACED, &writing);
        done.store(true, Ordering::Relaxed);
        seen
    })?;
    let p99 = |of: &hdrhistogram::Histogram<u64>| of.value_at_quantile(0.99) as f64 / 1e6;
    if seen.busy.len() < 100 || seen.quiet.len() < 100 {
        return Err(Failed(format!(
            "{} writes while snapshots were written and {} while not: too few to compare",
            seen.busy.len(),
            seen.quiet.len()
        )));
    }
    Ok(Values::from([
        (Metric::AddedP99Ms, (p99(&seen.busy) - p99(&seen.quiet)).max(0.0)),
        (Metric::P99Ms, p99(&seen.busy)),
        (Metric::Failed, seen.failed as f64),
    ]))
}

/// Says whether any server is writing a snapshot: whether one of its files has changed lately.
fn watch(ensemble: &Ensemble, writing: &AtomicBool, done: &AtomicBool) {
    let mut known = ensemble.snapshots();
    let mut until = None;
    while !done.load(Ordering::Relaxed) {
        let now = ensemble.snapshots();
        if std::mem::replace(&mut known, now) != known {
            until = Some(Instant::now() + LATELY);
        }
        writing.store(until.is_some_and(|until| until > Instant::now()), Ordering::Relaxed);
        thread::sleep(LOOK);
    }
}
