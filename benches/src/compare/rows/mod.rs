//! The rows of the comparison, and what is to be reached in each.

mod grow;

use super::Compare;
use crate::ensemble::Kind;
use crate::load::Op;
use crate::report::{Bound, Goal, Metric, Row, count};

/// What is done for a row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Scenario {
    /// Commits of the core in memory, without servers.
    Core { outstanding: usize },
    /// Sessions that each keep so many requests under way.
    Load { op: Op, connections: usize, outstanding: usize, bytes: usize },
    /// The same on any node of a tree of so many; what is created is deleted next.
    Tree { op: Op, znodes: usize },
    /// So many requests under way in all; the sessions take turns.
    Turns { op: Op, connections: usize, under_way: usize },
    /// One write that many watch.
    FanOut { watchers: usize },
    /// Three empty servers are started.
    Start,
    /// They have nothing to do.
    Idle,
    /// Their leader is killed.
    LeaderKilled,
    /// One server with a large tree is started.
    LargeStart,
    /// Three servers have a large tree.
    LargeMemory,
    /// They write snapshots of it.
    Snapshot,
}

/// What rows have their servers in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    /// No servers at all.
    Core,
    /// One ensemble for all.
    Loads,
    /// Each has a new and empty ensemble.
    Small,
    /// Each has new servers with a large tree.
    Large,
    /// One ensemble for all, whose tree has so many znodes.
    Tree(usize),
    /// One ensemble for all, of so many servers.
    Servers(usize),
}

impl Group {
    /// Whether the rows run on the same servers.
    pub(super) fn shares_servers(self) -> bool {
        match self {
            Group::Loads | Group::Tree(_) | Group::Servers(_) => true,
            Group::Core | Group::Small | Group::Large => false,
        }
    }
}

/// A row, and how it comes about.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) row: Row,
    pub(super) scenario: Scenario,
    pub(super) group: Group,
    quick: bool,
}

impl Plan {
    /// Whether it is measured with this program.
    pub(super) fn is_of(&self, kind: Kind) -> bool {
        match self.group {
            // Both runtimes have the same core.
            Group::Core => kind == Kind::Smol,
            // What is to be flat is so beside itself.
            Group::Tree(_) | Group::Servers(_) => kind != Kind::Apache,
            Group::Loads | Group::Small | Group::Large => true,
        }
    }

    /// Whether it was asked for.
    pub(super) fn wanted(&self, compare: &Compare) -> bool {
        if compare.only.is_empty() {
            return self.quick || !compare.quick;
        }
        let mut names = compare.only.iter().filter(|name| !name.is_empty());
        names.any(|name| self.row.id.starts_with(name.as_str()))
    }
}

/// Connections and outstanding requests of each.
const SHAPES: [(usize, usize); 5] = [(1, 1), (8, 1), (64, 1), (64, 16), (8, 128)];
/// Data of a node where its size is not the subject.
const BYTES: usize = 128;

/// All of them, in the order of the tables.
pub(super) fn plans() -> Vec<Plan> {
    let mut plans = [1000, 1].map(core).to_vec();
    for op in [Op::Set, Op::Get, Op::Mixed] {
        plans.extend(SHAPES.map(|shape| load(op, shape, BYTES)));
    }
    for op in [Op::Set, Op::Get] {
        plans.extend([1 << 10, 16 << 10].map(|bytes| load(op, (64, 16), bytes)));
    }
    plans.push(load(Op::Churn, (64, 1), BYTES));
    plans.extend([1_000, 10_000].map(fan_out));
    plans.extend(SHAPES.map(|shape| load(Op::Create, shape, BYTES)));
    plans.extend(others());
    plans.extend(grow::plans());
    plans
}

fn core(outstanding: usize) -> Plan {
    let ns = |most| Goal::must(Metric::CommitNs, Bound::AtMost(most));
    let goals = match outstanding {
        1 => vec![ns(600.0)],
        _ => vec![
            ns(226.0),
            Goal::stretch(Metric::CommitNs, Bound::AtMost(100.0)),
            Goal::must(Metric::CommitAllocations, Bound::AtMost(1.0)),
        ],
    };
    Plan {
        row: Row {
            id: format!("core-{outstanding}"),
            what: format!("the core in memory, {} outstanding, {BYTES} B", count(outstanding)),
            metric: Metric::CommitNs,
            goals,
            step: None,
        },
        scenario: Scenario::Core { outstanding },
        group: Group::Core,
        quick: true,
    }
}

fn load(op: Op, (connections, outstanding): (usize, usize), bytes: usize) -> Plan {
    let (id, name) = match op {
        Op::Set => ("set", "setData"),
        Op::Create => ("create", "create"),
        Op::Get => ("get", "getData"),
        Op::Mixed => ("mixed", "90 % getData"),
        Op::Churn => ("churn", "sessions made and closed"),
    };
    let size = match bytes {
        _ if op == Op::Churn => String::new(),
        BYTES => format!(", {bytes} B"),
        _ => format!(", {} KiB", bytes >> 10),
    };
    let per_second = |times| at_least(Metric::PerSecond, times);
    let ten_times = Goal::stretch(Metric::PerSecond, Bound::AtLeastTimes(10.0));
    let goals = match (op, connections, outstanding) {
        _ if bytes != BYTES => vec![],
        (Op::Set, 64, 16) => {
            vec![per_second(6.0), ten_times, at_most(Metric::CpuSeconds, 8.0)]
        }
        (Op::Set, 8, 128) => vec![per_second(6.0), ten_times],
        (Op::Create | Op::Mixed, 64, 16) | (Op::Churn, ..) => vec![per_second(6.0)],
        (Op::Get, 64, 16) => vec![per_second(5.0), ten_times],
        (Op::Set, 1, 1) => vec![Goal::must(Metric::P50Ms, Bound::AtMostSyncAnd(0.15))],
        (Op::Set, 8, 1) => vec![at_most(Metric::P999Ms, 4.0)],
        (Op::Set, 64, 1) => vec![at_most(Metric::P99Ms, 4.0)],
        _ => vec![],
    };
    Plan {
        row: Row {
            id: match op {
                Op::Churn => String::from(id),
                _ => format!("{id}-{connections}x{outstanding}-{bytes}"),
            },
            what: format!("{name} {connections}×{outstanding}{size}"),
            metric: Metric::PerSecond,
            goals,
            step: None,
        },
        scenario: Scenario::Load { op, connections, outstanding, bytes },
        group: Group::Loads,
        quick: bytes == BYTES
            && (matches!(op, Op::Set | Op::Churn) || (connections, outstanding) == (64, 16)),
    }
}

fn fan_out(watchers: usize) -> Plan {
    Plan {
        row: Row {
            id: format!("watch-{watchers}"),
            what: format!("events of one write, {} watchers", count(watchers)),
            metric: Metric::PerSecond,
            goals: vec![at_least(Metric::PerSecond, 6.0)],
            step: None,
        },
        scenario: Scenario::FanOut { watchers },
        group: Group::Loads,
        quick: watchers == 1_000,
    }
}

/// Rows of something else than load.
fn others() -> Vec<Plan> {
    let row = |id: &str, what: &str, scenario, quick, metric, goals| Plan {
        row: Row { id: id.into(), what: what.into(), metric, goals, step: None },
        scenario,
        group: match scenario {
            Scenario::Start | Scenario::Idle | Scenario::LeaderKilled => Group::Small,
            _ => Group::Large,
        },
        quick,
    };
    let ms = |part| vec![at_most(Metric::Ms, part)];
    let rss = |part| at_most(Metric::RssMib, part);
    let absolute = |metric, most| Goal::must(metric, Bound::AtMost(most));
    let beside = absolute(Metric::BytesPerZnode, 130.0);
    let added = absolute(Metric::AddedP99Ms, 2.0);
    let large = vec![rss(5.0), beside];
    use Scenario::{Idle, LargeMemory, LargeStart, LeaderKilled, Snapshot, Start};
    vec![
        row("start", "three empty servers to the first request", Start, true, Metric::Ms, ms(15.0)),
        row("idle", "an idle server", Idle, true, Metric::RssMib, vec![rss(12.0)]),
        row("killed", "leader killed, to the next write", LeaderKilled, true, Metric::Ms, ms(2.0)),
        row("large-start", "start with 1 million znodes", LargeStart, false, Metric::Ms, ms(8.0)),
        row("large-rss", "1 million znodes of 100 B", LargeMemory, false, Metric::RssMib, large),
        row(
            "large-snapshot",
            "snapshots of 1 million znodes",
            Snapshot,
            false,
            Metric::AddedP99Ms,
            vec![added],
        ),
    ]
}

fn at_least(metric: Metric, times: f64) -> Goal {
    Goal::must(metric, Bound::AtLeastTimes(times))
}

/// One part in so many of Apache ZooKeeper's.
fn at_most(metric: Metric, part: f64) -> Goal {
    Goal::must(metric, Bound::AtMostTimes(1.0 / part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        let mut names: Vec<_> = plans().into_iter().map(|plan| plan.row.id).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(count > 30, "{count} rows");
    }
}
