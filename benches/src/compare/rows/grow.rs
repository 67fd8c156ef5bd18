//! Rows that tell what an operation costs as work grows: more znodes, more connections, more
//! servers.

use super::{BYTES, Group, Plan, Scenario};
use crate::load::Op;
use crate::report::{Axis, Bound, Goal, Metric, Row, Step, count};

const ZNODES: [usize; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const CONNECTIONS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const SERVERS: [usize; 4] = [1, 3, 5, 7];
/// Under way over all connections. One: requests come alone however many the connections are. Many:
/// a server that reads a connection finds ever fewer of them, from all to one.
const UNDER_WAY: [usize; 2] = [1, 1_000];
/// So many times the smallest step, at most. What takes the logarithm of its size, as a sorted tree
/// does, takes 2.3 times as much for 10,000,000 as for 1,000; memory that is no longer in a cache
/// is to cost less than that.
const FLAT: f64 = 1.5;
/// What each of seven servers may take, beside each of three.
const LINEAR: f64 = 1.25;

pub(super) fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    for znodes in ZNODES {
        plans.extend([Op::Get, Op::Set, Op::Create].map(|op| tree(op, znodes)));
    }
    for under_way in UNDER_WAY {
        for op in [Op::Get, Op::Set] {
            plans.extend(CONNECTIONS.map(|connections| turns(op, connections, under_way)));
        }
    }
    plans.extend(SERVERS.map(servers));
    plans
}

fn tree(op: Op, znodes: usize) -> Plan {
    let (id, what) = match op {
        Op::Set => ("set", "setData"),
        Op::Create => ("create", "create, then delete"),
        Op::Get | Op::Mixed | Op::Churn => ("get", "getData"),
    };
    Plan {
        row: row(
            format!("grow-znodes-{id}-{znodes}"),
            Step { series: format!("{what} 64×16"), axis: Axis::Znodes, at: znodes },
            (Some(&znodes) == ZNODES.last()).then_some(Bound::Flat(ZNODES[0], FLAT)),
        ),
        scenario: Scenario::Tree { op, znodes },
        group: Group::Tree(znodes),
        quick: false,
    }
}

fn turns(op: Op, connections: usize, under_way: usize) -> Plan {
    let (id, what) = if op == Op::Set { ("set", "setData") } else { ("get", "getData") };
    let series = match under_way {
        1 => format!("{what}, one after the other"),
        n => format!("{what}, {} at once", count(n)),
    };
    // Where many share a read and a write, it is the sharing that is measured.
    let last = Some(&connections) == CONNECTIONS.last() && under_way == 1;
    Plan {
        row: row(
            format!("grow-connections-{id}-{under_way}-{connections}"),
            Step { series, axis: Axis::Connections, at: connections },
            last.then_some(Bound::Flat(CONNECTIONS[0], FLAT)),
        ),
        scenario: Scenario::Turns { op, connections, under_way },
        group: Group::Servers(3),
        quick: false,
    }
}

fn servers(servers: usize) -> Plan {
    let (op, connections, outstanding) = (Op::Set, 64, 16);
    Plan {
        row: row(
            format!("grow-servers-set-{servers}"),
            Step { series: String::from("setData 64×16"), axis: Axis::Servers, at: servers },
            (Some(&servers) == SERVERS.last()).then_some(Bound::Linear(3, LINEAR)),
        ),
        scenario: Scenario::Load { op, connections, outstanding, bytes: BYTES },
        group: Group::Servers(servers),
        quick: false,
    }
}

fn row(id: String, step: Step, bound: Option<Bound>) -> Row {
    Row {
        id,
        what: format!("{}, {}", step.series, step.words()),
        metric: Metric::CpuSeconds,
        goals: bound.map(|bound| Goal::must(Metric::CpuSeconds, bound)).into_iter().collect(),
        step: Some(step),
    }
}
