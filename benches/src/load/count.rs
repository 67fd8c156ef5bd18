//! What every kind of load has in common: it is made ready, warms up, counts, and ends.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::driver::{Driver, Nanos, TURN, Workload};
use super::setup::finish;
use super::{Failed, Load, Measured, Phase, histogram};
use crate::ensemble::usage::own_cpu_seconds;

/// How long it may take until all sessions are there.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is counted while it counts.
pub(super) struct Count {
    measuring: bool,
    latencies: Histogram<u64>,
    failed: u64,
}

impl Count {
    pub(super) fn new() -> Count {
        Count { measuring: false, latencies: histogram(), failed: 0 }
    }

    /// An operation is done, or refused.
    pub(super) fn done(&mut self, took: Nanos, error: i32) {
        if !self.measuring {
            return;
        }
        if error == 0 {
            self.latencies.saturating_record(took);
        } else {
            self.failed += 1;
        }
    }
}

/// A workload that counts.
pub(super) trait Counting: Workload {
    /// Its count.
    fn count(&mut self) -> &mut Count;
    /// Whether all sessions are at work.
    fn ready(&self) -> bool;
}

/// Lets a workload run as long as it should.
pub(super) fn measure(
    driver: &mut Driver,
    workload: &mut impl Counting,
    load: &Load,
    on: &mut dyn FnMut(Phase),
) -> Result<Measured, Failed> {
    while !workload.ready() {
        driver.within(PATIENCE, "all sessions are there")?;
        driver.turn(workload, TURN)?;
    }
    driver.turns(workload, load.warm_up)?;
    workload.count().measuring = true;
    on(Phase::Begins);
    let (begun, cpu) = (Instant::now(), own_cpu_seconds());
    driver.turns(workload, load.measured)?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), own_cpu_seconds() - cpu);
    on(Phase::Ended);
    let Count { latencies, failed, .. } = std::mem::replace(workload.count(), Count::new());
    finish(driver)?;
    Ok(Measured {
        operations: latencies.len(),
        seconds,
        latencies,
        failed,
        load_share: cpu / seconds,
    })
}
