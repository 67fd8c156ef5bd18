//! Whether the checkers would notice: bugs are put into the core, one at a time, and seeds are
//! run until one breaks a rule.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use zabkeeper_core::mutant::Mutant;

use crate::check::Violation;
use crate::plan::Plan;
use crate::run;

/// How a hunt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catch {
    /// How many seeds it took, the one that showed it included.
    pub seeds: u64,
    /// The rule that was broken first.
    pub violation: Violation,
}

/// Hunts one mutant with the seeds from `first` on, at most `most` of them; `jobs` at a time.
/// No other run may be under way in this process.
pub fn hunt(mutant: Mutant, first: u64, most: u64, jobs: usize) -> Option<Catch> {
    Mutant::put(Some(mutant));
    let (next, is_over) = (AtomicU64::new(first), AtomicBool::new(false));
    let caught: Mutex<Option<(u64, Violation)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + most {
                        return;
                    }
                    let Some(violation) = run::run(Plan::draw(seed)).violation else { continue };
                    is_over.store(true, Ordering::Relaxed);
                    if let Ok(mut caught) = caught.lock()
                        && caught.as_ref().is_none_or(|(known, _)| seed < *known)
                    {
                        *caught = Some((seed, violation));
                    }
                }
            });
        }
    });
    Mutant::put(None);
    let (seed, violation) = caught.into_inner().ok()??;
    Some(Catch { seeds: seed - first + 1, violation })
}
