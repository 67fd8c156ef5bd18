//! Runs plans, catches what panics, and reduces what fails.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

use crate::check::Violation;
use crate::plan::{Cut, Plan};
use crate::trace::story::Step;
use crate::world::{Outcome, World};

thread_local! {
    /// Whether this thread runs a plan.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
    /// What the last panic of such a run said.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a plan to its end. A panic is a violation, and is not printed.
pub fn run(plan: Plan) -> Outcome {
    told(plan, false).0
}

/// Runs a plan and tells what happened, step by step.
pub fn tell(plan: Plan) -> (Outcome, Vec<Step>) {
    told(plan, true)
}

fn told(plan: Plan, with_story: bool) -> (Outcome, Vec<Step>) {
    catch_panics();
    let mut world = World::new(plan);
    if with_story {
        world = world.with_story();
    }
    PANIC.set(None);
    IS_RUNNING.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    IS_RUNNING.set(false);
    let outcome = outcome.unwrap_or_else(|_| {
        let what = PANIC.take().unwrap_or_default();
        Outcome { violation: Some(Violation::crash("nothing panics", what)), ..world.outcome() }
    });
    (outcome, world.story().to_vec())
}

/// Panics inside a run are kept for its outcome; all others are printed as ever.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            if IS_RUNNING.get() {
                PANIC.set(Some(info.to_string()));
            } else {
                print(info);
            }
        }));
    });
}

/// The same failure with as little of its plan as can be found in `runs` runs.
pub fn shrink(plan: &Plan, violation: &Violation, runs: usize) -> Cut {
    let mut search = Search { plan, rule: violation.rule, left: runs, best: Cut::default() };
    search.storm();
    search.parts(plan.faults.len(), |cut, kept| cut.faults = Some(kept));
    search.parts(plan.clients.len(), |cut, kept| cut.clients = Some(kept));
    search.storm();
    search.best
}

struct Search<'a> {
    plan: &'a Plan,
    rule: &'static str,
    left: usize,
    best: Cut,
}

impl Search<'_> {
    fn fails(&mut self, cut: &Cut) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        let outcome = run(self.plan.clone().cut(cut));
        let fails = outcome.violation.is_some_and(|violation| violation.rule == self.rule);
        if fails {
            self.best = cut.clone();
        }
        fails
    }

    /// A shorter storm.
    fn storm(&mut self) {
        let mut ms = self.best.stormy_ms.unwrap_or(self.plan.stormy_ms);
        let mut step = ms / 2;
        while step >= 500 && self.left > 0 {
            let shorter = Cut { stormy_ms: Some(ms - step), ..self.best.clone() };
            if self.fails(&shorter) {
                ms -= step;
            }
            step /= 2;
        }
    }

    /// Fewer of `n` parts: halves, quarters, and so on down to single ones (delta debugging).
    fn parts(&mut self, n: usize, set: impl Fn(&mut Cut, Vec<usize>)) {
        let mut kept: Vec<usize> = (0..n).collect();
        let mut size = n.div_ceil(2);
        while size > 0 && !kept.is_empty() && self.left > 0 {
            let mut from = 0;
            while from < kept.len() {
                let mut fewer = kept.clone();
                fewer.drain(from..(from + size).min(kept.len()));
                let mut cut = self.best.clone();
                set(&mut cut, fewer.clone());
                if self.fails(&cut) {
                    kept = fewer;
                } else {
                    from += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }
}
