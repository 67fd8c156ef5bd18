//! How far two cores are from each other. In a virtual machine that changes: its cores are moved
//! between those of the real one, and what two threads share costs a tenth, or ten times as much.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::Latency;

/// How long one look takes.
const LOOK: Duration = Duration::from_millis(5);
/// Between two looks at the clock.
const ROUNDS: u64 = 100;
const END: u64 = u64::MAX;

/// What a word takes from one core to another and back, looked at now and then.
#[derive(Debug)]
pub(crate) struct Apart {
    looks: Histogram<u64>,
}

impl Apart {
    pub(crate) fn new() -> Apart {
        // The bounds are constants that are known to be fine.
        let looks = Histogram::new_with_bounds(1, 1_000_000_000, 3);
        Apart { looks: looks.unwrap_or_else(|e| panic!("{e}")) }
    }

    pub(crate) fn look(&mut self) {
        if let Some(ns) = round_trip(LOOK) {
            self.looks.saturating_record(ns);
        }
    }

    /// None where there was no look, or no second core.
    pub(crate) fn latency(&self) -> Option<Latency> {
        let told = super::latency(&self.looks, LOOK);
        (!self.looks.is_empty()).then(|| Latency { per_second: 1e6 / told.p50_us, ..told })
    }
}

/// The median, ns.
fn round_trip(limit: Duration) -> Option<u64> {
    let allowed = sched_getaffinity(None).ok()?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    let (near, far) = (cores.next()?, cores.next()?);
    // Whoever sees an odd number adds one.
    let word = AtomicU64::new(0);
    let mut taken = thread::scope(|scope| {
        scope.spawn(|| {
            stay_on(far);
            loop {
                match word.load(Ordering::Acquire) {
                    END => return,
                    seen if seen % 2 == 1 => word.store(seen + 1, Ordering::Release),
                    _ours => hint::spin_loop(),
                }
            }
        });
        let ask = scope.spawn(|| {
            stay_on(near);
            let (end, mut said, mut taken) = (Instant::now() + limit, 1, Vec::new());
            while Instant::now() < end {
                let begun = Instant::now();
                for _ in 0..ROUNDS {
                    word.store(said, Ordering::Release);
                    while word.load(Ordering::Acquire) == said {
                        hint::spin_loop();
                    }
                    said += 2;
                }
                taken.push(begun.elapsed().as_nanos() as u64 / ROUNDS);
            }
            word.store(END, Ordering::Release);
            taken
        });
        ask.join().unwrap_or_default()
    });
    taken.sort_unstable();
    taken.get(taken.len() / 2).copied()
}

/// This thread, for as long as it lives. If it cannot, the figure is of wherever it is.
fn stay_on(core: usize) {
    let mut only = CpuSet::new();
    only.set(core);
    let _ = sched_setaffinity(None, &only);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_goes_there_and_back() {
        let mut apart = Apart::new();
        assert_eq!(apart.latency(), None);
        apart.look();
        let allowed = sched_getaffinity(None).expect("the cores that it may use");
        let told = apart.latency();
        assert_eq!(told.is_some(), allowed.count() > 1);
        // No light is that fast.
        assert!(told.is_none_or(|told| told.p50_us > 0.001 && told.p50_us <= told.p999_us));
    }
}
