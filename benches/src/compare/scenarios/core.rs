//! Rows of the core alone: three servers in memory, 128 bytes a commit.

use std::time::{Duration, Instant};

use super::super::rows::Scenario;
use super::Values;
use crate::ensemble::usage::own_thread_nanos;
use crate::load::Failed;
use crate::memory::{Memory, allocations_and_messages};
use crate::report::{Metric, median};

const SERVERS: usize = 3;
const PAYLOAD: [u8; 128] = [7; 128];
/// The time is the median of so many parts: others use the machine, too.
const PARTS: u32 = 20;

pub(in super::super) fn measure(measured: Duration, scenario: &Scenario) -> Result<Values, Failed> {
    let Scenario::Core { outstanding } = *scenario else {
        return Err(Failed(format!("{scenario:?} is not of the core alone")));
    };
    let mut memory = Memory::elected(SERVERS);
    // At once between two looks at the clock.
    let rounds = (1000 / outstanding).max(1);
    let mut part = |most: Duration| {
        let (begun, cpu, mut commits) = (Instant::now(), own_thread_nanos(), 0);
        while begun.elapsed() < most {
            (0..rounds).for_each(|_| memory.commit(&PAYLOAD, outstanding));
            commits += rounds * outstanding;
        }
        (own_thread_nanos() - cpu) as f64 / commits as f64
    };
    part(measured / PARTS);
    let times = (0..PARTS).map(|_| part(measured / PARTS)).collect();
    let time = median(times).ok_or_else(|| Failed("there was no time".into()))?;
    let (allocations, _) = allocations_and_messages(SERVERS, outstanding);
    Ok(Values::from([(Metric::CommitNs, time), (Metric::CommitAllocations, allocations)]))
}
