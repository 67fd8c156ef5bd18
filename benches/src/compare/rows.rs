//! The rows of the comparison, and what is to be reached in each.

use super::Compare;
use crate::load::Op;
use crate::report::{Bound, Goal, Metric, Row};

/// What is done for a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Scenario {
    /// Sessions that each keep so many requests under way.
    Steady { op: Op, connections: usize, outstanding: usize, bytes: usize },
}

/// A row, and how it comes about.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) row: Row,
    pub(super) scenario: Scenario,
    quick: bool,
}

impl Plan {
    /// Whether it was asked for.
    pub(super) fn wanted(&self, compare: &Compare) -> bool {
        if compare.only.is_empty() {
            return self.quick || !compare.quick;
        }
        compare.only.iter().any(|only| self.row.id.starts_with(only.as_str()))
    }
}

/// Connections and outstanding requests of each.
const SHAPES: [(usize, usize); 5] = [(1, 1), (8, 1), (64, 1), (64, 16), (8, 128)];

/// All of them, in the order in which they are measured: what makes the tree grow comes last.
pub(super) fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    for op in [Op::Set, Op::Get, Op::Mixed, Op::Create] {
        for shape in SHAPES {
            plans.push(steady(op, shape, 128));
        }
    }
    for op in [Op::Set, Op::Get] {
        for bytes in [1 << 10, 16 << 10] {
            plans.push(steady(op, (64, 16), bytes));
        }
    }
    plans
}

fn steady(op: Op, (connections, outstanding): (usize, usize), bytes: usize) -> Plan {
    let (id, name) = match op {
        Op::Set => ("set", "setData"),
        Op::Create => ("create", "create"),
        Op::Get => ("get", "getData"),
        Op::Mixed => ("mixed", "90 % getData"),
    };
    let small = bytes == 128;
    let size = if small { format!("{bytes} B") } else { format!("{} KiB", bytes >> 10) };
    let per_second = |times| goal(Metric::PerSecond, Bound::AtLeastTimes(times));
    let goals = match (op, connections, outstanding) {
        _ if !small => vec![],
        (Op::Set, 64, 16) => {
            vec![per_second(6.0), goal(Metric::CpuSeconds, Bound::AtMostTimes(1.0 / 8.0))]
        }
        (Op::Set, 8, 128) | (Op::Create | Op::Mixed, 64, 16) => vec![per_second(6.0)],
        (Op::Get, 64, 16) => vec![per_second(5.0)],
        (Op::Set, 1, 1) => vec![goal(Metric::P50Ms, Bound::AtMostSyncAnd(0.15))],
        (Op::Set, 8, 1) => vec![goal(Metric::P999Ms, Bound::AtMostTimes(0.25))],
        (Op::Set, 64, 1) => vec![goal(Metric::P99Ms, Bound::AtMostTimes(0.25))],
        _ => vec![],
    };
    Plan {
        row: Row {
            id: format!("{id}-{connections}x{outstanding}-{bytes}"),
            what: format!("{name} {connections}×{outstanding}, {size}"),
            metric: Metric::PerSecond,
            goals,
        },
        scenario: Scenario::Steady { op, connections, outstanding, bytes },
        quick: small && (op == Op::Set || (connections, outstanding) == (64, 16)),
    }
}

fn goal(metric: Metric, bound: Bound) -> Goal {
    Goal { metric, bound }
}
